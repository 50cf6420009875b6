//! `ktape conns`: the connections of captures. A question of `ktape stats`, with groups and columns of its own.

use std::process::ExitCode;

use anyhow::Result;

use super::selection::times;
use super::stats::{self, StatsArgs, terminal_width};
use crate::session::options::selectors;

/// The view with a row for each connection.
const VIEW: &str = "conns";

/// Terminals narrower than this have fewer columns.
const NARROW: usize = 130;
const NARROW_BY: &str = "conn.proto,conn.client,conn.server,conn.server_addr,conn.id";
const NARROW_COLUMNS: [&str; 5] = [
    "bytes = sum(conn.sent) + sum(conn.received)",
    "sent = max(conn.sent)",
    "received = max(conn.received)",
    "age = max(conn.dur)",
    "state = last(conn.state)",
];

/// What is known of several connections together.
const GROUP_COLUMNS: [&str; 10] = [
    "conns = count",
    "per second = rate",
    "bytes = sum(conn.sent) + sum(conn.received)",
    "sent = sum(conn.sent)",
    "received = sum(conn.received)",
    "failed = count(conn.state != open and conn.state != closed)",
    "open = count(conn.state = open)",
    "avg age = avg(conn.dur)",
    "p50 age = p50(conn.dur)",
    "p99 age = p99(conn.dur)",
];

const AFTER_HELP: &str = concat!(
    "\
Without --by, there is a row for each TCP connection, each connected pair of
unix sockets, and each UDP socket and address that it exchanges datagrams with.
With --by, there is a row for each group: the number of connections, how many
per second, their bytes, and how long they last.

Fields of a connection (`ktape fields conn` lists all):
  conn.client, conn.server           the processes at both ends; also
                                     conn.client.pid, conn.client.container, ...
  conn.client_addr, conn.server_addr addresses; also conn.server_addr.ip and
                                     conn.server_addr.port
  conn.proto, conn.path              tcp, udp or unix; the path of a unix socket
  conn.sent, conn.received           bytes to and from the server
  conn.dur, conn.state               age; open, closed, refused, reset, ...
  conn.calls, conn.errors, conn.retrans

",
    times!(),
    selectors!(),
    "
Examples:
  ktape conns web.ktape
  ktape conns web.ktape 'conn.proto = tcp and conn.state != closed'
  ktape conns web.ktape --container web --from 12:00
  ktape conns web.ktape --by conn.server_addr,conn.client
  ktape conns web.ktape 'conn.dur < 10ms' --by conn.client,conn.server_addr.port
  ktape conns web.ktape --per 1s --plot
  ktape conns web.ktape --format csv -n 0"
);

/// Arguments of `ktape conns`: those of `ktape stats`, but for the view.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = AFTER_HELP,
    mut_arg("inputs", |arg| arg
        .value_name("FILE|EXPR")
        .help("Captures or directories of captures, then a filter expression")),
    // Changing an argument moves it behind the others: this one has to stay the last.
    mut_arg("command", |arg| arg),
    mut_arg("view", |arg| arg.hide(true)),
    mut_arg("by", |arg| arg.help("Group by these fields, separated by commas [default: one row per connection]")),
    mut_arg("columns", |arg| arg.help("What to compute for each row, separated by commas (see `ktape stats --help`)")),
)]
pub struct ConnsArgs {
    /// The options.
    #[command(flatten)]
    stats: StatsArgs,
}

/// Prints the connections.
///
/// # Errors
/// As [`stats::run`].
pub fn run(args: &ConnsArgs) -> Result<ExitCode> {
    let mut stats = args.stats.clone();
    let width = terminal_width();
    let is_narrow = stats.is_table() && width.is_some_and(|width| width < NARROW);
    let own = |columns: &[&str]| columns.iter().map(|column| (*column).to_owned()).collect();
    let is_grouped = stats.is_grouped();
    if is_grouped {
        stats.set_columns(own(&GROUP_COLUMNS));
    } else if is_narrow && !stats.has_columns() {
        stats.set_by(NARROW_BY);
        stats.set_columns(own(&NARROW_COLUMNS));
    }
    stats.answer(VIEW, is_grouped);
    stats::run(&stats)
}
