//! The first bench: what an idle connection costs a node, and how far a paced fan-out is from the floor.
//!
//! `cargo run --release -p gim-examples --bin bench -- [idle|fanout|all] [--json FILE]`
//!
//! The program that you start only conducts. Server and load client are child processes of the same binary, so
//! that memory and CPU time of the server are its own, and each is pinned to a core of its own. Every child ends
//! with its parent, every wait has a deadline.
//!
//! The floor is what the machine can do at all: one thread, epoll, one `send()` of ready bytes per socket, no
//! runtime, no routing, no queue. Both servers send the same frame to the same load client in the same run, turn
//! by turn, because absolute figures move with the machine while their ratio moves much less.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

mod args;
mod child;
mod clock;
mod events;
mod fanout;
mod floor;
mod idle;
mod load;
mod machine;
mod message;
mod node;
mod post;
mod process;
mod report;
mod ws;

use args::{Args, What};
use clap::Parser;
use serde_json::json;

/// Everything that goes wrong here ends the program with its text, so one boxed type does for all of it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result<()> {
    let args = Args::parse();
    match args.what.unwrap_or(What::All) {
        What::ServeNode(place) => node::serve(&place),
        What::ServeFloor(place) => floor::serve(&place),
        What::Load(work) => load::run(&work),
        what => conduct(what, &args.settings),
    }
}

fn conduct(what: What, settings: &args::Settings) -> Result<()> {
    settings.check()?;
    let open_files = process::raise_open_files()?;
    let machine = machine::Machine::read();
    let cores = machine.pinning();
    // The conductor writes one message per tick and otherwise sleeps: it may share the client's core.
    process::pin(cores.client)?;
    report::heading(&machine, settings, open_files);

    let idle = match what {
        What::Fanout => None,
        _ => Some(idle::measure(settings, cores)?),
    };
    if let Some(idle) = &idle {
        report::idle(idle);
    }
    let fanout = match what {
        What::Idle => None,
        _ => Some(fanout::measure(settings, cores, report::round)?),
    };
    if let Some(fanout) = &fanout {
        report::fanout(fanout);
    }
    if let Some(path) = &settings.json {
        let all = json!({
            "machine": machine.to_json(),
            "settings": settings.to_json(open_files),
            "idle": idle.map(|found| found.to_json()),
            "fanout": fanout.map(|found| found.to_json()),
        });
        std::fs::write(path, format!("{all:#}\n"))?;
    }
    Ok(())
}
