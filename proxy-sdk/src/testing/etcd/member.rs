//! One member of an etcd: its process, folder and ports.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::etcd::{EtcdErrorKind, EtcdOptions};
use crate::testing::instance::words;
use crate::testing::process::Process;
use crate::testing::tls::Certificates;
use crate::testing::{DEADLINE, free_port, prefix};

const PROGRAM: &str = "etcd";
const PACKAGE: &str = "etcd-server";

/// Whom a member belongs to.
#[derive(Debug)]
pub(super) enum Peers {
    /// Nobody.
    Alone,
    /// The members at these ports; it is the one with this index.
    Of(Vec<u16>, usize),
}

/// See the module. Killed, and its folder deleted, when dropped.
#[derive(Debug)]
pub(super) struct Member {
    port: u16,
    folder: PathBuf,
    certificates: Option<Certificates>,
    arguments: Vec<OsString>,
    process: Process,
}

impl Member {
    /// Starts one. Whether it serves is seen later: somebody else may have taken its port.
    pub(super) fn start(certificates: Option<&Certificates>, peers: &Peers, further: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("gim-etcd-{}", prefix()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let port = free_port();
        let arguments = arguments(port, &folder, certificates, peers, further);
        let process = Process::start(PROGRAM, &arguments, &folder, PACKAGE);
        Self { port, folder, certificates: certificates.cloned(), arguments, process }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn endpoint(&self) -> String {
        url(self.certificates.as_ref(), self.port)
    }

    /// What a client needs to reach this one.
    pub(super) fn options(&self) -> EtcdOptions {
        let files = self.certificates.as_ref().map(Certificates::of_client).unwrap_or_default();
        EtcdOptions::new([self.endpoint()]).tls_files(files)
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub(super) fn stop(&mut self) {
        self.process.kill();
    }

    pub(super) fn restart(&mut self) {
        self.process.kill();
        self.process = Process::start(PROGRAM, &self.arguments, &self.folder, PACKAGE);
    }

    pub(super) fn forget(&self) {
        std::fs::remove_dir_all(data(&self.folder)).expect("its files can be deleted");
    }

    pub(super) fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    pub(super) fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Waits until it answers what takes a leader. False: it ended instead.
    pub(super) async fn serves(&mut self, options: &EtcdOptions) -> bool {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline && !self.process.has_ended() {
            match options.open("/").await {
                Ok(_) => return true,
                // Whoever may not read this was answered too.
                Err(error) if error.kind == EtcdErrorKind::Denied => return true,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
        false
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.process.kill();
        // What cannot be deleted stays in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn arguments(
    port: u16,
    folder: &Path,
    certificates: Option<&Certificates>,
    peers: &Peers,
    further: &[&str],
) -> Vec<OsString> {
    let clients = url(certificates, port);
    let (ports, own) = match peers {
        Peers::Alone => (&[free_port()][..], 0),
        Peers::Of(ports, own) => (&ports[..], *own),
    };
    let peer = url(None, ports[own]);
    let all: Vec<String> = ports.iter().enumerate().map(|(at, port)| format!("m{at}={}", url(None, *port))).collect();
    let mut arguments =
        words(&["--name", &format!("m{own}"), "--heartbeat-interval", "50", "--election-timeout", "500"]);
    arguments.extend(words(&["--listen-client-urls", &clients, "--advertise-client-urls", &clients]));
    arguments.extend(words(&["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]));
    arguments.extend(words(&["--initial-cluster", &all.join(","), "--data-dir"]));
    arguments.push(data(folder).into_os_string());
    if let Some(certificates) = certificates {
        arguments.extend(words(&["--client-cert-auth"]));
        for (option, name) in [("--trusted-ca-file", "ca"), ("--cert-file", "server"), ("--key-file", "server-key")] {
            arguments.extend([option.into(), certificates.file(name).into_os_string()]);
        }
    }
    if has_no_fsync() {
        arguments.extend(words(&["--unsafe-no-fsync"]));
    }
    arguments.extend(words(further));
    arguments
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn url(certificates: Option<&Certificates>, port: u16) -> String {
    format!("http{}://127.0.0.1:{port}", if certificates.is_some() { "s" } else { "" })
}

/// What a test keeps on disk need not survive the machine. Older versions cannot leave that out.
fn has_no_fsync() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        // One that is not there is told of where it is started.
        let help = Command::new(PROGRAM).arg("--help").output();
        help.is_ok_and(|help| [help.stdout, help.stderr].iter().any(|text| mentions(text, b"unsafe-no-fsync")))
    })
}

fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
