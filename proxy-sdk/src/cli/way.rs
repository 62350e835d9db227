//! Which node is asked.
//!
//! Owns the choice between a fixed address and a cluster found in etcd, and what the environment says of it. The
//! variables are those that the nodes themselves read, so a shell that is set up for one is set up for the other.

use std::path::PathBuf;

use gim_proto::NodeId;

use super::args::Place;
use crate::client::Address;
use crate::etcd::EtcdOptions;
use crate::store::TlsFiles;
use crate::{ClientOptions, ClusterClient, Error, ErrorKind, NodeClient};

const ENDPOINTS: &str = "GIM_ETCD__ENDPOINTS";
const PREFIX: &str = "GIM_PREFIX";
const DEFAULT_NODE: &str = "http://127.0.0.1:8091";
const DEFAULT_PREFIX: &str = "gim";

/// The way to a node.
pub(super) enum Way {
    /// This one.
    Node { client: NodeClient, options: ClientOptions },
    /// Any, or one by name.
    Cluster(ClusterClient),
}

/// What flags and environment come to.
#[derive(Debug)]
enum Goal {
    Node(Address),
    Cluster { etcd: EtcdOptions, prefix: String },
}

impl Way {
    /// Finds out whom to ask. A node is not called yet, etcd is.
    pub(super) async fn open(place: Place, options: ClientOptions) -> Result<Self, Error> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        match goal(place, variable)? {
            Goal::Node(address) => Ok(Self::Node { client: NodeClient::at(address, options.clone())?, options }),
            Goal::Cluster { etcd, prefix } => Ok(Self::Cluster(ClusterClient::connect(&etcd, &prefix, options).await?)),
        }
    }

    /// The node to ask what any node can tell.
    pub(super) async fn any(&self) -> Result<NodeClient, Error> {
        match self {
            Self::Node { client, .. } => Ok(client.clone()),
            Self::Cluster(cluster) => cluster.any().await,
        }
    }

    /// Every node there is now, by what it is called: those of a cluster by name, a single one by its address.
    pub(super) fn all(&self) -> Vec<(String, NodeClient)> {
        match self {
            Self::Node { client, .. } => vec![(client.address(), client.clone())],
            Self::Cluster(cluster) => {
                let named = cluster.nodes().into_iter();
                named.filter_map(|id| Some((id.to_string(), cluster.node(&id).ok()?))).collect()
            }
        }
    }

    /// Whether nodes may come and go.
    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// The node of this name, which has answered to it.
    pub(super) async fn named(&self, id: &NodeId) -> Result<NodeClient, Error> {
        let client = match self {
            Self::Node { client, .. } if client.hello().await?.node.id == *id => return Ok(client.clone()),
            Self::Node { client, options } => known_to(client, id, options).await?,
            Self::Cluster(cluster) => cluster.node(id)?,
        };
        let found = client.hello().await?.node.id;
        if found != *id {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("node {found} answers at the address of node {id}"),
            ));
        }
        Ok(client)
    }
}

/// The way to a node that another one knows.
async fn known_to(client: &NodeClient, id: &NodeId, options: &ClientOptions) -> Result<NodeClient, Error> {
    let sysinfo = client.sysinfo().await?;
    let named = |name: &serde_json::Value| name.as_str() == Some(id.as_str());
    if sysinfo["nodes_unreachable"].as_array().is_some_and(|nodes| nodes.iter().any(named)) {
        return Err(Error::new(ErrorKind::Unavailable, format!("node {id} cannot be reached")));
    }
    let node = sysinfo["nodeMap"].as_array().and_then(|nodes| nodes.iter().find(|node| named(&node["name"])));
    let rpc = node.and_then(|node| node["rpc"].as_str());
    let rpc =
        rpc.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("the node that is asked knows no node {id}")))?;
    NodeClient::lazy(rpc, options.clone())
}

fn goal(place: Place, variable: impl Fn(&str) -> Option<String>) -> Result<Goal, Error> {
    let from_environment =
        || variable(ENDPOINTS).map(|text| text.split(',').map(|one| one.trim().to_owned()).collect());
    let endpoints: Vec<String> = match place.node {
        Some(address) => return Ok(Goal::Node(address)),
        None if place.etcd.is_empty() => from_environment().unwrap_or_default(),
        None => place.etcd,
    };
    if endpoints.is_empty() {
        return Ok(Goal::Node(DEFAULT_NODE.parse()?));
    }
    let prefix = place.prefix.or_else(|| variable(PREFIX)).unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
    Ok(Goal::Cluster { etcd: let_in(EtcdOptions::new(endpoints), variable)?, prefix })
}

/// Adds what etcd asks for to let somebody in.
fn let_in(mut options: EtcdOptions, variable: impl Fn(&str) -> Option<String>) -> Result<EtcdOptions, Error> {
    let login = (variable("GIM_ETCD__USERNAME"), variable("GIM_ETCD__PASSWORD"));
    if let (Some(username), password) = login {
        options = options.login(username, password.unwrap_or_default());
    }
    let file = |name: &str| variable(name).map(|path| read(name, path.into())).transpose();
    let (ca, certificate, key) = (file("GIM_ETCD__TLS_CA")?, file("GIM_ETCD__TLS_CERT")?, file("GIM_ETCD__TLS_KEY")?);
    Ok(options.tls_files(TlsFiles { ca, identity: certificate.zip(key) }))
}

fn read(variable: &str, path: PathBuf) -> Result<Vec<u8>, Error> {
    std::fs::read(&path).map_err(|error| {
        Error::with_source(ErrorKind::Invalid, format!("{variable}: {} cannot be read", path.display()), error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(node: Option<&str>, etcd: &[&str], prefix: Option<&str>) -> Place {
        Place {
            node: node.map(|node| node.parse().unwrap()),
            etcd: etcd.iter().map(ToString::to_string).collect(),
            prefix: prefix.map(str::to_owned),
        }
    }

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn a_cluster(name: &str) -> Option<String> {
        match name {
            ENDPOINTS => Some("http://a:2379, http://b:2379".to_owned()),
            PREFIX => Some("shop".to_owned()),
            "GIM_ETCD__USERNAME" => Some("gim".to_owned()),
            _ => None,
        }
    }

    fn shown(place: Place, variable: impl Fn(&str) -> Option<String>) -> String {
        match goal(place, variable).unwrap() {
            Goal::Node(address) => address.to_string(),
            Goal::Cluster { etcd, prefix } => {
                format!("{} below {prefix}", etcd.endpoints().collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn without_a_word_the_node_of_this_machine_is_asked() {
        assert_eq!(shown(place(None, &[], None), nothing), "http://127.0.0.1:8091");
    }

    #[test]
    fn the_environment_counts_only_where_no_flag_says_whom_to_ask() {
        let told = |node, etcd, prefix| shown(place(node, etcd, prefix), a_cluster);
        assert_eq!(told(None, &[], None), "http://a:2379 http://b:2379 below shop");
        assert_eq!(told(Some("c:8091"), &[], None), "http://c:8091");
        assert_eq!(told(None, &["http://d:2379"], None), "http://d:2379 below shop");
        assert_eq!(told(None, &["http://d:2379"], Some("other")), "http://d:2379 below other");
        let flags = shown(place(None, &["http://d:2379", "http://e:2379"], None), nothing);
        assert_eq!(flags, "http://d:2379 http://e:2379 below gim");
    }

    #[test]
    fn etcd_is_shown_user_and_certificates_of_the_environment() {
        let options = let_in(EtcdOptions::new(["http://a:2379"]), a_cluster).unwrap();
        assert!(format!("{options:?}").contains(r#"Some("gim")"#), "{options:?}");
        let missing = |name: &str| (name == "GIM_ETCD__TLS_CA").then(|| "/nowhere/ca.pem".to_owned());
        let error = let_in(EtcdOptions::new(["https://a:2379"]), missing).map(|_| ()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.to_string().starts_with("GIM_ETCD__TLS_CA: /nowhere/ca.pem"), "{error}");
    }
}
