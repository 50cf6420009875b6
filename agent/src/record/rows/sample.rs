//! Samples of resources.

use agent_ebpf::records::Header;
use capture_format::ChunkBuilder;
use events::Kind;

use super::{RowWriter, col};
use crate::agent_events::{CgroupSample, DiskSample, FsSample, HostSample};
use ktape_reader::model::column;

/// Pushes the fields of a sample to the columns of the same names.
macro_rules! push {
    ($table:ident, $kind:ident, $row:ident: $($field:ident)*) => {
        $({
            const COLUMN: usize = column(Kind::$kind, stringify!($field)) as usize;
            $table.push_u64(COLUMN, $row.$field);
        })*
    };
}

impl RowWriter {
    /// The header of a row that is about no thread.
    fn sample_header(&mut self, kind: Kind, time: u64, cgroup: u64) -> Header {
        self.count(cgroup);
        Header { time, cgroup, cpu: u16::MAX, kind: kind as u8, ..Header::default() }
    }

    pub(super) fn sample(&mut self, builder: &mut ChunkBuilder, row: &CgroupSample) {
        // The container may have turned out to be unwanted since.
        if !self.wants_cgroup(Kind::Sample, row.cgroup) {
            return;
        }
        let head = self.sample_header(Kind::Sample, row.time, row.cgroup);
        let index = self.common(builder, Kind::Sample, &head, 0);
        let cgroup = self.cgroup_row(builder, row.cgroup);
        let io_limits = builder.intern(&row.io_limits);
        let table = builder.table_at(index);
        table.push_ref(col!(Sample, "cgroup"), cgroup);
        push!(table, Sample, row:
            processes threads fds mem mem_peak mem_anon mem_file mem_limit mem_failures oom_kills
            cpu_time cpu_user cpu_system cpu_shares cpu_weight cpu_quota cpu_period cpu_periods cpu_throttled
            cpu_throttled_time pids pids_max pids_failures io_read io_written io_reads io_writes
            cpu_pressure mem_pressure io_pressure interval cpu_used throttled_for bytes_read bytes_written);
        table.push_bytes(col!(Sample, "io_limits"), io_limits);
        table.end_row();
    }

    pub(super) fn sample_host(&mut self, builder: &mut ChunkBuilder, row: &HostSample) {
        let head = self.sample_header(Kind::SampleHost, row.time, 0);
        let index = self.common(builder, Kind::SampleHost, &head, 0);
        let table = builder.table_at(index);
        push!(table, SampleHost, row:
            cpus cpu_user cpu_system cpu_idle cpu_iowait cpu_irq cpu_steal load1 running blocked processes
            threads forks switches fds fds_max mem_total mem_available mem_free mem_cached mem_dirty
            mem_writeback swap_used oom_kills cpu_pressure mem_pressure io_pressure io_pressure_full);
        table.end_row();
    }

    pub(super) fn sample_disk(&mut self, builder: &mut ChunkBuilder, row: &DiskSample) {
        let head = self.sample_header(Kind::SampleDisk, row.time, 0);
        let index = self.common(builder, Kind::SampleDisk, &head, 0);
        let dev = builder.intern(&row.dev);
        let maps_to = builder.intern(&row.maps_to);
        let table = builder.table_at(index);
        table.push_bytes(col!(SampleDisk, "dev"), dev);
        table.push_bytes(col!(SampleDisk, "maps_to"), maps_to);
        push!(table, SampleDisk, row:
            devno reads read_bytes read_time writes written_bytes write_time in_flight busy queue_time);
        table.end_row();
    }

    pub(super) fn sample_fs(&mut self, builder: &mut ChunkBuilder, row: &FsSample) {
        let head = self.sample_header(Kind::SampleFs, row.time, 0);
        let index = self.common(builder, Kind::SampleFs, &head, 0);
        let mount = builder.intern(&row.mount);
        let fs_type = builder.intern(&row.fs_type);
        let source = builder.intern(&row.source);
        let table = builder.table_at(index);
        table.push_bytes(col!(SampleFs, "mount"), mount);
        table.push_bytes(col!(SampleFs, "fs_type"), fs_type);
        table.push_bytes(col!(SampleFs, "source"), source);
        push!(table, SampleFs, row: bytes bytes_free bytes_available inodes inodes_free);
        table.end_row();
    }
}
