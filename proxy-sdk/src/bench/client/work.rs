//! What a load client is told when it is started.

use crate::bench::Result;
use crate::bench::address::WsAddress;

/// What a load client does.
#[derive(Clone, Debug, clap::Args)]
pub struct Work {
    /// Where the nodes' WebSocket listeners are; they get connections in turn
    #[arg(long, value_delimiter = ',', required = true)]
    pub url: Vec<WsAddress>,
    /// How many connections to hold
    #[arg(long)]
    pub hold: usize,
    /// The number of the first one, where other load clients hold those below
    #[arg(long, default_value_t = 0)]
    pub first: usize,
    /// What the uids begin with; the number of the connection follows
    #[arg(long, default_value = "bench-")]
    pub users: String,
    /// The groups each of them joins; without it, none
    #[arg(long, value_delimiter = ',')]
    pub join: Vec<String>,
    /// Each acknowledges the durable messages it gets
    #[arg(long)]
    pub ack: bool,
    /// Logins under way at once
    #[arg(long, default_value_t = 128)]
    pub window: usize,
    /// The core it is pinned to; without it, wherever the kernel likes
    #[arg(long)]
    pub core: Option<usize>,
}

impl Work {
    /// So many connections to one place, or to several in turn.
    #[must_use]
    pub fn new(url: Vec<WsAddress>, hold: usize) -> Self {
        Self { url, hold, first: 0, users: "bench-".to_owned(), join: Vec::new(), ack: false, window: 128, core: None }
    }

    /// The uid of a connection.
    #[must_use]
    pub fn uid(&self, number: usize) -> String {
        format!("{}{number:06}", self.users)
    }

    pub(super) fn url_of(&self, number: usize) -> Result<&WsAddress> {
        let count = self.url.len().max(1);
        Ok(self.url.get(number % count).ok_or("no address to connect to")?)
    }

    /// The same as words of a command line.
    pub(super) fn arguments(&self) -> Vec<String> {
        let urls: Vec<String> = self.url.iter().map(ToString::to_string).collect();
        let [url, hold, first, window] =
            [urls.join(","), self.hold.to_string(), self.first.to_string(), self.window.to_string()];
        let mut words = vec![
            format!("--url={url}"),
            format!("--hold={hold}"),
            format!("--first={first}"),
            format!("--users={}", self.users),
            format!("--window={window}"),
        ];
        words.extend(self.ack.then(|| "--ack".to_owned()));
        words.extend((!self.join.is_empty()).then(|| format!("--join={}", self.join.join(","))));
        words
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        work: Work,
    }

    #[test]
    fn work_comes_out_of_a_command_line_as_it_went_in() {
        let urls = ["ws://a:1/ws?token=t-{uid}", "ws://[::1]:2/ws"].map(|url| url.parse().unwrap());
        let mut work = Work::new(urls.to_vec(), 7);
        work.first = 3;
        work.users = "-u".to_owned();
        work.join = vec!["g-{}".to_owned(), "all".to_owned()];
        work.ack = true;
        let line = Line::try_parse_from(["x".to_owned()].into_iter().chain(work.arguments())).unwrap();
        assert_eq!(format!("{:?}", line.work), format!("{work:?}"));
        assert_eq!(work.uid(12), "-u000012");
    }
}
