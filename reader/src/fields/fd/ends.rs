//! The two ends of a socket.

use crate::model::FileRow;
use crate::syscalls::SocketRole;
use crate::syscalls::sockaddr::SockAddr;

/// The addresses of a socket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends<'a> {
    pub(super) local: Option<SockAddr<'a>>,
    pub(super) remote: Option<SockAddr<'a>>,
    /// What the process that made the call is.
    pub(super) role: Option<SocketRole>,
}

impl<'a> Ends<'a> {
    /// Those of a file.
    pub(super) fn of_file(file: &FileRow<'a>) -> Self {
        Self { local: address(file.local), remote: address(file.remote), role: None }
    }

    /// Whether there is any.
    pub(super) fn is_known(&self) -> bool {
        self.local.is_some() || self.remote.is_some()
    }

    /// The end of the client.
    pub(super) fn client(&self) -> Option<SockAddr<'a>> {
        match self.role? {
            SocketRole::Client => self.local,
            SocketRole::Server => self.remote,
        }
    }

    /// The end of the server.
    pub(super) fn server(&self) -> Option<SockAddr<'a>> {
        match self.role? {
            SocketRole::Client => self.remote,
            SocketRole::Server => self.local,
        }
    }

    /// The same with the ends exchanged.
    pub(super) fn reversed(self) -> Self {
        Self { local: self.remote, remote: self.local, role: None }
    }

    /// Appends `local->remote`, from the client to the server if it is known which one is which; the local address alone if
    /// there is no other.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.role == Some(SocketRole::Server) && self.remote.is_some() {
            return self.reversed().write(out);
        }
        if let Some(local) = self.local {
            local.format(out);
        }
        if let Some(remote) = self.remote {
            out.extend_from_slice(b"->");
            remote.format(out);
        }
    }
}

/// A socket address; `None` for none, also one that stands for not being bound or connected.
fn address(bytes: &[u8]) -> Option<SockAddr<'_>> {
    SockAddr::parse(bytes).filter(is_something)
}

/// Whether an address does not stand for not being bound or connected.
pub(super) fn is_something(address: &SockAddr<'_>) -> bool {
    match address {
        SockAddr::Unspec | SockAddr::UnixUnnamed => false,
        SockAddr::Inet { ip, port: 0, .. } => !ip.is_unspecified(),
        _ => true,
    }
}
