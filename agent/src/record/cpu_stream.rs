//! The records of a CPU's own ring buffer: short, as most of what they are about is said once for many.

use agent_ebpf::records::cpu::{SwitchWords, shape, sort, word};
use events::Kind;

use super::decode;
use super::dictionary_rows::CachedRow;

/// The thread that calls are of, as a CPU's ring buffer says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamThread {
    /// The id of its cgroup.
    pub cgroup: u64,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Effective user id.
    pub uid: u32,
}

/// What a CPU's records so far say about those that follow.
#[derive(Debug)]
pub struct CpuStream {
    cpu: u16,
    /// Whose the next calls are.
    pub thread: StreamThread,
    /// Its row, and the number of changes of processes as of which it is right.
    pub row: (CachedRow, u64),
}

impl CpuStream {
    /// Of this CPU; nothing is known yet.
    pub fn new(cpu: u16) -> Self {
        Self { cpu, thread: StreamThread::default(), row: (CachedRow::default(), 0) }
    }

    /// The CPU.
    pub fn cpu(&self) -> u16 {
        self.cpu
    }

    /// Follows a record that is only about those after it. False if it is another one.
    #[inline]
    pub fn follow(&mut self, bytes: &[u8]) -> bool {
        let Some(words) = bytes.first_chunk::<{ 8 * word::ARGS }>() else { return false };
        let own_shape = word_of(words, word::SHAPE);
        if shape::sort((own_shape >> 32) as u32) != sort::IDENTITY {
            return false;
        }
        let ids =
            bytes.get(8 * word::ARGS..).and_then(<[u8]>::first_chunk).map_or(0, |w| u64::from_ne_bytes(*w));
        self.thread = StreamThread {
            cgroup: word_of(words, word::RESULT),
            pid: ids as u32,
            tid: (ids >> 32) as u32,
            uid: own_shape as u32,
        };
        self.row = (CachedRow::default(), 0);
        true
    }

    /// Kind and cgroup of a record that is dropped; `None` if it is no event.
    pub fn dropped(&mut self, bytes: &[u8]) -> Option<(Kind, u64)> {
        if self.follow(bytes) {
            return None;
        }
        match CpuRecord::read(bytes)? {
            CpuRecord::Call(_) => Some((Kind::Syscall, self.thread.cgroup)),
            CpuRecord::Entered(_) | CpuRecord::Again(_) => None,
            CpuRecord::Switch(_, switch) => Some((Kind::Switch, switch.cgroup)),
        }
    }
}

/// A record of a CPU's ring buffer.
#[derive(Debug)]
pub enum CpuRecord<'a> {
    /// A call that has returned.
    Call(CallRecord<'a>),
    /// Arguments and strings of one that has not.
    Entered(CallRecord<'a>),
    /// The strings of that, read again.
    Again(CallRecord<'a>),
    /// A context switch, and when.
    Switch(u64, SwitchWords),
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub struct CallRecord<'a> {
    /// When it returned, ns of the boot clock.
    pub time: u64,
    /// How long it took, ns.
    pub dur: u64,
    /// Its result.
    pub ret: i64,
    /// [`events::syscall_key`].
    pub key: u32,
    /// Bits of [`events::flags`].
    pub flags: u32,
    /// Its arguments; those that the record has not are 0.
    pub args: [u64; 6],
    /// What its descriptors stand for, by the kernel side's numbers; 0 is nothing.
    pub files: [u64; 2],
    /// Its strings.
    pub strings: [&'a [u8]; 2],
    /// Its path, if that is its first string and it was read once more behind both.
    pub path_again: Option<&'a [u8]>,
    /// Its strings are in an earlier record, of its entry.
    pub was_entered: bool,
    /// It has its strings once more as they were at the return: in their place if it was entered, else the first string in place
    /// of the second one.
    pub again: bool,
}

#[inline]
fn word_of<const N: usize>(bytes: &[u8; N], index: usize) -> u64 {
    let at = 8 * index;
    u64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]))
}

impl<'a> CpuRecord<'a> {
    /// Reads a record; `None` if it has another size than one of its type.
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let words = bytes.first_chunk::<{ 8 * word::ARGS }>()?;
        let own_shape = word_of(words, word::SHAPE);
        let upper = (own_shape >> 32) as u32;
        let record_sort = shape::sort(upper);
        if record_sort == sort::SWITCH {
            return Some(Self::Switch(word_of(words, word::TIME), decode::record(&bytes[16..])?));
        }
        let mut call = CallRecord {
            time: word_of(words, word::TIME),
            dur: own_shape & 0xffff_ffff,
            ret: word_of(words, word::RESULT) as i64,
            key: shape::key(upper),
            flags: 0,
            args: [0; 6],
            files: [0; 2],
            strings: [b"", b""],
            path_again: None,
            was_entered: record_sort == sort::LONG_ENTERED,
            again: false,
        };
        let mut files = &bytes[8 * word::ARGS..];
        if let Some((all, rest)) = files.split_first_chunk::<48>() {
            call.args = std::array::from_fn(|i| word_of(all, i));
            files = rest;
        } else if let Some((three, rest)) = files.split_first_chunk::<24>() {
            call.args[..3].copy_from_slice(&[word_of(three, 0), word_of(three, 1), word_of(three, 2)]);
            files = rest;
        }
        match record_sort {
            sort::CALL => {
                for (file, bytes) in call.files.iter_mut().zip(files.as_chunks().0) {
                    *file = u64::from_ne_bytes(*bytes);
                }
                return Some(Self::Call(call));
            }
            sort::STRINGS | sort::ENTERED | sort::LONG | sort::LONG_ENTERED | sort::AGAIN => {}
            _ => return None,
        }
        let more = bytes.get(8 * word::LENGTHS..)?.first_chunk::<32>()?;
        call.files = [word_of(more, 2), word_of(more, 3)];
        let lengths = word_of(more, 0);
        let (first, second) = (lengths as u16 as usize, (lengths >> 16) as u16 as usize);
        let strings = bytes.get(8 * word::STRINGS..)?;
        call.flags = (lengths >> 32) as u32 & !word::AGAIN;
        call.again = (lengths >> 32) as u32 & word::AGAIN != 0;
        call.strings = [
            strings.get(..first)?,
            strings.get(first.next_multiple_of(8)..).unwrap_or_default().get(..second)?,
        ];
        if record_sort == sort::STRINGS && call.again {
            let after = first.next_multiple_of(8) + second.next_multiple_of(8);
            let third = strings.get(after..).unwrap_or_default();
            call.path_again = third.split(|byte| *byte == 0).next().filter(|_| !third.is_empty());
        }
        if matches!(record_sort, sort::LONG | sort::LONG_ENTERED) {
            call.dur = word_of(more, 1);
            call.was_entered |= call.again;
        }
        Some(match record_sort {
            sort::ENTERED => Self::Entered(call),
            sort::AGAIN => Self::Again(call),
            _ => Self::Call(call),
        })
    }
}
