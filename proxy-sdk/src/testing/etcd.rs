//! One etcd of its own: in the clear, by TLS with client certificates, or with users.

mod member;
mod set;

use std::path::Path;

use etcd_client::{Client, ConnectOptions, Permission, PermissionType};
use gim_proto::Keys;
use tokio::sync::OnceCell;

use self::member::{Member, Peers};
use super::tls::Certificates;
use crate::etcd::EtcdOptions;

pub use self::set::EtcdSet;

const PASSWORD: &str = "secret";

/// An etcd of one member on a free port, empty. Killed, and its folder deleted, when dropped.
#[derive(Debug)]
pub struct EtcdServer {
    member: Member,
    options: EtcdOptions,
    root: Option<ConnectOptions>,
}

impl EtcdServer {
    /// Starts one.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with further arguments, such as `--auto-compaction-retention 1`.
    pub async fn start_with(further: &[&str]) -> Self {
        Self::start_as(None, further).await
    }

    /// Starts one that speaks TLS only, to clients with a certificate of these.
    pub async fn start_tls(certificates: &Certificates) -> Self {
        Self::start_as(Some(certificates), &[]).await
    }

    /// Starts one where nobody may do anything without a password, and its user `gim` nothing but to read and write
    /// the keys of nodes. Tokens live as long as the arguments say, such as `--auth-token-ttl 300`.
    pub async fn start_guarded(keys: &Keys, further: &[&str]) -> Self {
        let mut server = Self::start_with(further).await;
        let mut client = server.client().await;
        add_user(&mut client, "root", "root").await;
        client.role_add("nodes").await.expect("a role");
        let keys = keys.etcd_nodes();
        let permission = Permission::new(PermissionType::Readwrite, keys).with_prefix();
        client.role_grant_permission("nodes", permission).await.expect("a permission");
        add_user(&mut client, "gim", "nodes").await;
        client.auth_enable().await.expect("users that count");
        server.options = server.options.login("gim", PASSWORD);
        server.root = Some(ConnectOptions::new().with_user("root", PASSWORD));
        server
    }

    async fn start_as(certificates: Option<&Certificates>, further: &[&str]) -> Self {
        let mut log = String::new();
        // Somebody else may take a port between the look and the start: then another one is tried.
        for _ in 0..10 {
            let mut member = Member::start(certificates, &Peers::Alone, further);
            let options = member.options();
            if member.serves(&options).await {
                return Self { member, options, root: None };
            }
            log = member.log();
        }
        panic!("etcd does not start: {log}")
    }

    /// Its URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.member.endpoint()
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.member.port()
    }

    /// What a node needs to reach it.
    #[must_use]
    pub fn options(&self) -> EtcdOptions {
        self.options.clone()
    }

    /// A client for the test itself, who may do everything. Not by TLS.
    pub async fn client(&self) -> Client {
        Client::connect([self.endpoint()], self.root.clone()).await.expect("a client")
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.member.pid()
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.member.folder()
    }

    /// Kills it, as a crash does.
    pub fn stop(&mut self) {
        self.member.stop();
    }

    /// Starts it again on the same port with what it kept on disk, and waits until it serves.
    pub async fn restart(&mut self) {
        self.member.restart();
        let serves = self.member.serves(&self.options).await;
        assert!(serves, "etcd does not serve again: {}", self.member.log());
    }

    /// Deletes what it kept on disk. It must be stopped.
    pub fn forget(&self) {
        self.member.forget();
    }

    /// Stops its process in the middle of whatever it does, without closing a connection.
    pub fn freeze(&self) {
        self.member.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.member.thaw();
    }
}

async fn add_user(client: &mut Client, name: &str, role: &str) {
    if role == "root" {
        client.role_add(role).await.expect("a role");
    }
    client.user_add(name, PASSWORD, None).await.expect("a user");
    client.user_grant_role(name, role).await.expect("a user with a role");
}

/// The etcd that the tests of this process share, each under a prefix of its own.
pub async fn shared_etcd() -> &'static EtcdServer {
    static SHARED: OnceCell<EtcdServer> = OnceCell::const_new();
    SHARED.get_or_init(EtcdServer::start).await
}
