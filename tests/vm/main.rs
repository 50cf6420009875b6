//! Other kernels and whole machines, in virtual machines: kernel versions, clocks, CPUs, disks, systemd, power loss.

mod block_io;
mod machine_changes;
mod power_loss;
mod recording;
mod systemd;
