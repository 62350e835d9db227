//! `gim top`: the nodes again and again, and how fast their figures change.
//!
//! Owns the rhythm and the screen. What is shown of two looks is [`change`]'s.

mod change;

use std::io;

use tokio::time::{Instant, MissedTickBehavior, interval};

use self::change::Change;
use super::figures::Figures;
use super::screen::Screen;
use super::way::Way;
use super::{DONE, FAILED, args, time};
use crate::Error;

/// To the upper left corner, and everything away.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What was seen, and when.
struct Look {
    figures: Figures,
    at: Instant,
}

/// Shows the nodes as often as asked for, until ctrl-c at the latest. The exit code is that of the last look.
pub(super) async fn run(top: &args::Top, way: &Way, screen: &mut Screen<'_>) -> (u8, io::Result<()>) {
    let most = if top.once { Some(1) } else { top.count };
    let mut ticks = interval(top.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Option<Look> = None;
    let (mut code, mut written, mut looks) = (DONE, Ok(()), 0);
    while written.is_ok() && most.is_none_or(|most| looks < most) {
        let looked = async {
            ticks.tick().await;
            look(way).await
        };
        let looked = tokio::select! {
            looked = looked => looked,
            _ = tokio::signal::ctrl_c() => break,
        };
        looks += 1;
        match looked {
            Ok(look) => {
                (code, written) = (DONE, show(screen, &Change::between(last.as_ref(), &look), most.is_none()));
                last = Some(look);
            }
            Err(error) => {
                (code, written) = (FAILED, screen.complain(&error));
                // Whoever asks in vain from the beginning has asked the wrong way.
                if last.is_none() {
                    break;
                }
            }
        }
    }
    (code, written)
}

async fn look(way: &Way) -> Result<Look, Error> {
    let sysinfo = way.any().await?.sysinfo().await?;
    Ok(Look { figures: Figures::read(&sysinfo)?, at: Instant::now() })
}

fn show(screen: &mut Screen<'_>, change: &Change<'_>, clear: bool) -> io::Result<()> {
    let now = time::now_ms();
    if screen.is_json {
        writeln!(screen.out, "{}", change.to_json(now))?;
    } else {
        let (before, after) = if clear { (CLEAR, "") } else { ("", "\n") };
        writeln!(screen.out, "{before}{}\n{}{after}", change.headline(now), change.table())?;
    }
    screen.out.flush()
}
