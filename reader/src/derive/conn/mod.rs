//! `conn`: one row for each connection, with both of its ends.
//!
//! Each socket that is seen is one end of a connection. If the other end is on this host, too, there is a second connection with one
//! end, and both are put together as soon as it is known that they are the same ([`table`]). A row is written when a connection has
//! ended and nothing more of it is to be expected.

mod actions;
mod calls;
mod connection;
mod net;
mod table;

use std::sync::Arc;

use capture_format::{FormatError, Header};
use events::{Kind, UNKNOWN, flags};
use rustc_hash::FxHashMap;

use super::carry::Carry;
use super::output::{Common, Output};
use super::{Derive, Range};
use crate::model::dictionaries::TASK;
use crate::model::{Binding, CallColumns, ChunkView, Rows, column};
use crate::syscalls::sockaddr::{SockAddr, addresses};
use crate::syscalls::{ArgType, FileRoles};

use actions::Action;
use calls::{Call, Socket};
use connection::{Conn, NONE, STATES, inet, sockaddr, unix_sockaddr};
use net::Net;
use table::Table;

/// Rows to be written at once.
const MOST_READY: usize = 8_192;

macro_rules! own {
    ($kind:ident, $name:literal) => {
        const { column(Kind::$kind, $name) }
    };
}

/// The connections of a capture.
#[derive(Debug)]
pub(super) struct Conns {
    table: Table,
    /// Whether the capture has `net` events, which have the beginnings and ends of TCP connections.
    has_net: bool,
    carry: Option<(Carry, Arc<Binding>)>,
    /// By row of the chunk's task dictionary: the row of the carried ones, and the process id.
    tasks: Vec<Option<(u32, u32)>>,
    /// By the key of a call.
    actions: FxHashMap<u64, Action>,
    /// By row of the chunk's file dictionary: whether it is a socket of interest.
    sockets: Vec<Option<bool>>,
    end: u64,
}

/// An event that matters, by its time; of those at the same time, changes of states come first.
type Found<'v, 'c> = (u64, u8, &'v Rows<'c>, usize);

impl Conns {
    /// Those of a capture with this header.
    pub(super) fn new(header: &Header, range: Range) -> Self {
        let has_word = |list: &str| list.split(',').any(|word| word.trim() == "net");
        Self {
            table: Table::new(range),
            has_net: header.option("events").is_none_or(has_word),
            carry: None,
            tasks: Vec::new(),
            actions: FxHashMap::default(),
            sockets: Vec::new(),
            end: 0,
        }
    }

    /// A thread of the chunk, carried on.
    fn thread(&mut self, view: &ChunkView<'_>, task: Option<u32>) -> Result<(u32, u32), FormatError> {
        let (Some(task), Some((carry, _))) = (task, &mut self.carry) else { return Ok((NONE, 0)) };
        match self.tasks.get(task as usize) {
            Some(Some(known)) => return Ok(*known),
            None => return Ok((NONE, 0)),
            Some(None) => {}
        }
        let row = view.task(task);
        let pid = row.process.map_or(0, |process| view.process(process).pid) as u32;
        let known = match row.tid {
            0 if !view.is_hidden(task) => (NONE, 0),
            _ => (carry.keep(view, task)?, pid),
        };
        self.tasks[task as usize] = Some(known);
        Ok(known)
    }

    /// The calls of a table that are about a socket.
    fn calls<'v, 'c>(&mut self, view: &ChunkView<'c>, rows: &'v Rows<'c>, found: &mut Vec<Found<'v, 'c>>) {
        let columns = CallColumns::new(rows);
        let (keys, results, times) = (columns.keys(), columns.results(), rows.times());
        let files = [columns.files(0), columns.files(1)];
        let (mut last, mut action) = (u64::MAX, Action::Other);
        for (row, key) in keys.iter().enumerate() {
            if *key != last {
                let name =
                    || view.binding.calls.get(*key).map_or(Action::Other, |call| Action::of(call.name()));
                (last, action) = (*key, *self.actions.entry(*key).or_insert_with(name));
            }
            let has_failed = results.get(row).is_some_and(|result| *result < 0);
            if action == Action::Other && !has_failed {
                continue;
            }
            let is_socket = files.iter().filter_map(|rows| rows.get(row)).any(|file| {
                let Some(known) = self.sockets.get_mut(*file as usize) else { return false };
                *known.get_or_insert_with(|| calls::protocol(&view.file(*file)).is_some())
            });
            let time = times.get(row).copied().unwrap_or(0);
            if is_socket && time <= self.table.range.to {
                found.push((time, 1, rows, row));
            }
        }
    }

    fn call(&mut self, view: &ChunkView<'_>, rows: &Rows<'_>, row: usize) -> Result<(), FormatError> {
        if rows.flags(row) & (flags::UNFINISHED | flags::NO_RESULT) != 0 {
            return Ok(());
        }
        let columns = CallColumns::new(rows);
        let key = columns.key(row);
        let Some(action) = self.actions.get(&key).copied() else { return Ok(()) };
        let Some(known) = view.binding.calls.get(key) else { return Ok(()) };
        let thread = self.thread(view, rows.task(row))?;
        let socket = |slot: usize| {
            let file = columns.files(slot).get(row).map(|file| view.file(*file))?;
            Socket::of(&file, thread.1)
        };
        let flags = match action {
            Action::Receive { flags: Some(at) } => {
                columns.args(row).get(usize::from(at)).copied().unwrap_or(0)
            }
            _ => 0,
        };
        let roles: &FileRoles = known.file_roles();
        let given = given(view, (rows, columns), row, roles.address.filter(|_| !roles.is_local_address));
        let call = Call {
            time: rows.end(row),
            start: rows.start(row),
            thread,
            action,
            result: columns.results().get(row).copied().unwrap_or(0),
            sockets: [socket(0), socket(1)],
            addresses: given,
            flags,
        };
        self.table.call(call, self.has_net);
        Ok(())
    }

    fn net(&mut self, view: &ChunkView<'_>, rows: &Rows<'_>, row: usize) -> Result<(), FormatError> {
        let number = |own: u16| rows.number(own, row).unwrap_or(UNKNOWN);
        let bytes = |own: u16| rows.bytes(own, row).unwrap_or_default();
        let net = Net {
            time: rows.end(row),
            thread: self.thread(view, rows.task(row))?,
            age: number(own!(Net, "dur")),
            old: bytes(own!(Net, "old")),
            new: bytes(own!(Net, "new")),
            role: bytes(own!(Net, "role")),
            local: inet(bytes(own!(Net, "local"))),
            remote: inet(bytes(own!(Net, "remote"))),
            sock: number(own!(Net, "sock")),
            netns: number(own!(Net, "netns")),
            counters: [
                number(own!(Net, "sent")),
                number(own!(Net, "received")),
                number(own!(Net, "retrans")),
            ],
            error: rows.number(own!(Net, "error"), row).unwrap_or(0) as u32,
            reason: bytes(own!(Net, "reason")),
        };
        self.table.net(&net);
        Ok(())
    }

    /// Writes the rows that are ready.
    fn write(&mut self, out: &mut Output) -> Result<(), FormatError> {
        let Some((carry, binding)) = &mut self.carry else { return Ok(()) };
        let chunk = carry.take()?;
        let view = ChunkView::open(&chunk, binding)?;
        let end = self.end.min(self.table.range.to);
        for conn in self.table.take_ready() {
            if let Some(conn) = self.table.complete(conn) {
                write(&conn, &self.table, (&view, end), out)?;
            }
        }
        for task in self.table.tasks() {
            *task = carry.keep(&view, *task)?;
        }
        // These were numbers of the old ones.
        self.tasks.fill(None);
        Ok(())
    }
}

/// The addresses that a call was given, or has filled in, of its peers.
fn given<'c>(
    view: &ChunkView<'c>,
    (rows, columns): (&Rows<'c>, CallColumns<'c>),
    row: usize,
    position: Option<u8>,
) -> Vec<SockAddr<'c>> {
    use crate::model::CallString;
    let Some(position) = position.map(usize::from) else { return Vec::new() };
    let Some(call) = view.binding.calls.get(columns.key(row)) else { return Vec::new() };
    let Some(slot) = call.strings.get(position).copied().flatten() else { return Vec::new() };
    let CallString::Read { bytes, .. } = columns.string(rows, row, slot, position) else { return Vec::new() };
    let is_many = call.signature.args.get(position).is_some_and(|arg| arg.ty == ArgType::Mmsghdr);
    match is_many {
        true => addresses(bytes).filter_map(SockAddr::parse).collect(),
        false => SockAddr::parse(bytes).into_iter().collect(),
    }
}

/// Writes the row of a connection. `tasks` are the carried ones, and the end of what is known.
fn write(
    conn: &Conn,
    table: &Table,
    (tasks, now): (&ChunkView<'_>, u64),
    out: &mut Output,
) -> Result<(), FormatError> {
    let is_ranged = table.range.from > 0 || table.range.to < u64::MAX;
    let (client, server) = (conn.client, 1 - conn.client);
    let end = match conn.end {
        // Datagrams are over with the last one.
        _ if conn.ends.iter().any(|end| end.peer.is_some()) => conn.last,
        Some(end) => end,
        None => now.max(conn.last),
    };
    let start = conn.start.min(end);
    if end < table.range.from || start > table.range.to {
        return Ok(());
    }
    let task = |side: usize, out: &mut Output| match conn.ends[side].task {
        NONE => Ok((false, out.unknown(TASK))),
        row => Ok((true, out.row(tasks, TASK, row)?)),
    };
    let ((has_client, of_client), (_, of_server)) = (task(client, out)?, task(server, out)?);
    let bytes = [client, server].map(|side| conn.ends[side].address.map(sockaddr).unwrap_or_default());
    let of_server_path = conn.path.as_deref().map(unix_sockaddr).unwrap_or_default();
    let addresses =
        [out.text(&bytes[0]), out.text(if bytes[1].is_empty() { &of_server_path } else { &bytes[1] })];
    let proto = out.text(conn.proto.name().as_bytes());
    let path = out.text(conn.path.as_deref().unwrap_or_default());
    let state = out.text(STATES[usize::from(conn.state())].as_bytes());
    let flags = if conn.knows_start { 0 } else { flags::START_UNKNOWN };
    let subject = if has_client { of_client } else { of_server };
    out.event(Kind::Conn, Common { time: end, task: subject, flags }, |table| {
        table.push_u64(4, end - start);
        table.push_ref(5, of_client);
        table.push_ref(6, of_server);
        table.push_bytes(7, addresses[0]);
        table.push_bytes(8, addresses[1]);
        table.push_bytes(9, proto);
        table.push_bytes(10, path);
        table.push_bytes(11, state);
        table.push_u64(12, conn.sent(client, is_ranged));
        table.push_u64(13, conn.sent(server, is_ranged));
        table.push_u64(14, conn.calls);
        table.push_u64(15, conn.errors);
        table.push_u64(16, conn.error.into());
        table.push_u64(17, conn.retransmitted());
        table.push_u64(18, conn.id);
    })
}

impl Derive for Conns {
    fn chunk(&mut self, view: &ChunkView<'_>, out: &mut Output) -> Result<(), FormatError> {
        if self.carry.is_none() {
            let header = Header { schema: Arc::clone(out.schema()), ..Header::default() };
            let binding = Arc::new(Binding::new(Arc::new(header)));
            self.carry = Some((Carry::new(Arc::clone(out.schema()), TASK), binding));
        }
        self.tasks.clear();
        self.tasks.resize(view.task_rows(), None);
        self.sockets.clear();
        self.sockets.resize(view.file_rows(), None);
        self.end = self.end.max(view.chunk.summary().end_max);
        let to = self.table.range.to;
        let mut found: Vec<Found<'_, '_>> = Vec::new();
        for rows in view.tables() {
            let of_kind = |rank: u8| (0..rows.len()).map(move |row| (rows.end(row), rank, rows, row));
            match rows.event.kind {
                Some(Kind::Net) => found.extend(of_kind(0).filter(|found| found.0 <= to)),
                Some(Kind::Syscall | Kind::Uring) => self.calls(view, rows, &mut found),
                Some(Kind::Exit) => found.extend(of_kind(2).filter(|found| found.0 <= to)),
                _ => {}
            }
        }
        found.sort_by_key(|(time, rank, ..)| (*time, *rank));
        for (time, rank, rows, row) in found {
            match rank {
                0 => self.net(view, rows, row)?,
                1 => self.call(view, rows, row)?,
                _ if rows.number(own!(Exit, "process"), row) == Some(1) => {
                    let process = rows.task(row).and_then(|task| view.process_of(task));
                    let pid = process.map_or(0, |process| view.process(process).pid) as u32;
                    self.table.exit(pid, time);
                }
                _ => {}
            }
            self.table.expire(time);
            if self.table.ready.len() >= MOST_READY {
                self.write(out)?;
            }
        }
        if !self.table.ready.is_empty() || self.carry.as_ref().is_some_and(|(carry, _)| carry.is_large()) {
            self.write(out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), FormatError> {
        self.table.finish();
        self.write(out)
    }
}

#[cfg(test)]
mod tests;
