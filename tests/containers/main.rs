//! Containers of runc and of real container engines, on the running kernel: identification, names, exit codes.

mod exit_codes;
mod hosts;
mod identification;
mod own_users;
mod runtime_failures;
mod runtimes;
