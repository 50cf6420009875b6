//! What the log of strace has of sockets, to compare their names.

use std::collections::{HashMap, HashSet};

use super::Logged;
use super::log::descriptor;
use super::reason::Reason;
use super::value::{address, unescaped};

/// A unix socket as strace shows it: `UNIX-STREAM:[4711->4712,"/run/x"]`.
#[derive(Debug, PartialEq, Eq)]
struct Unix {
    inode: String,
    peer: Option<String>,
    /// What it is bound to, as ktape writes it.
    path: Option<Vec<u8>>,
}

impl Unix {
    fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix("UNIX")?.split_once(":[")?.1.strip_suffix(']')?;
        let (ends, path) = match inner.split_once(',') {
            Some((ends, path)) => (ends, Some(path)),
            None => (inner, None),
        };
        let (inode, peer) = match ends.split_once("->") {
            Some((inode, peer)) => (inode, Some(peer.to_owned())),
            None => (ends, None),
        };
        // `"/run/x"` or `@"name"`.
        let path = path.map(|path| {
            unescaped(&path.replacen('"', "", 1)).strip_suffix(b"\"").unwrap_or_default().to_vec()
        });
        Some(Self { inode: inode.to_owned(), peer, path })
    }
}

/// What the whole log has of sockets.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// What unix sockets are bound to, by inode.
    paths: HashMap<String, Vec<u8>>,
    /// The peers of unix sockets, by inode, both ways.
    peers: HashMap<String, String>,
    /// Addresses that were connected to, as ktape writes them.
    connected: HashSet<String>,
}

impl Sockets {
    pub(super) fn of<'a>(calls: impl Iterator<Item = &'a Logged>) -> Self {
        let mut sockets = Self::default();
        for call in calls {
            if call.name == "connect" {
                sockets.connected.extend(call.args.get(1).and_then(|arg| address(arg)));
            }
            for text in call.args.iter().chain([&call.result]) {
                let inner = descriptor(text).and_then(|(_, name)| name.strip_prefix('<')?.strip_suffix('>'));
                let Some(socket) = inner.and_then(Unix::parse) else { continue };
                if let Some(peer) = socket.peer {
                    sockets.peers.insert(peer.clone(), socket.inode.clone());
                    sockets.peers.insert(socket.inode.clone(), peer);
                }
                if let Some(path) = socket.path {
                    sockets.paths.insert(socket.inode, path);
                }
            }
        }
        sockets
    }

    /// Why two names of one socket differ; `None` if they are those of two.
    pub(super) fn why(&self, strace: &str, ktape: &str) -> Option<Reason> {
        if strace.starts_with("NETLINK:[") && ktape.starts_with("NETLINK:[") {
            return Some(Reason::Netlink);
        }
        if let Some(socket) = Unix::parse(strace) {
            let ours = ktape.strip_prefix("UNIX:[")?.strip_suffix(']')?;
            return self.is_unix(&socket, ours).then_some(Reason::UnixSocket);
        }
        // `UDP:[0.0.0.0:53]` and `UDP:[127.0.0.1:53->127.0.0.1:99]`: the same protocol and port.
        let (protocol, theirs) = strace.split_once(":[")?;
        let ours = ktape.strip_prefix(protocol)?.strip_prefix(":[")?.strip_suffix(']')?;
        let (local, remote) = ours.split_once("->")?;
        let port = |end: &str| end.rsplit_once(':').map(|(_, port)| port.to_owned());
        let is_same = port(theirs.strip_suffix(']')?) == port(local) && !theirs.contains("->");
        (is_same && self.connected.contains(remote)).then_some(Reason::FirstAddress)
    }

    fn is_unix(&self, socket: &Unix, ktape: &str) -> bool {
        let path = unescaped(ktape);
        if let Some(own) = socket.path.as_ref().or_else(|| self.paths.get(&socket.inode)) {
            // Until it is bound, it has none.
            return path == *own || socket.path.is_none() && ktape == socket.inode;
        }
        let peer = socket.peer.as_ref().or_else(|| self.peers.get(&socket.inode));
        let of_peer = peer.and_then(|peer| self.paths.get(peer));
        ktape == socket.inode || of_peer == Some(&path)
    }
}
