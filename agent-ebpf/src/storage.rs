//! State of each task: the call it is in, and its times on and off the CPU.
//!
//! In task storage, which tracing programs have since 5.13. The legacy programs have hash tables by the task's address,
//! which is its own until the kernel frees it; then the entry is taken out. Their size is decided at load. A task
//! without room there has its calls counted as lost, and its times on and off the CPU are not known.

#[cfg(not(feature = "legacy"))]
pub use self::local::{marks, sched, state};
#[cfg(feature = "legacy")]
pub use self::tables::{forget, sched, state};

#[cfg(not(feature = "legacy"))]
mod local {
    use core::ffi::c_void;
    use core::ptr;

    use agent_ebpf::records::TaskState;
    use agent_ebpf::records::sched::SchedState;
    use aya_ebpf::helpers::generated::bpf_task_storage_get;

    /// The definition of a task storage, in the shape that loaders read from BTF; aya-ebpf has no wrapper for this map
    /// type.
    #[repr(C)]
    struct TaskStorage<T> {
        r#type: *const [i32; 29],
        key: *const i32,
        value: *const T,
        max_entries: *const [i32; 0],
        map_flags: *const [i32; 1],
    }

    impl<T> TaskStorage<T> {
        const DEFINITION: Self = Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        };
    }

    // SAFETY: only the address is used; the fields are never read.
    unsafe impl<T> Sync for TaskStorage<T> {}

    /// What call each task is in.
    #[unsafe(link_section = ".maps")]
    #[unsafe(export_name = "TASKS")]
    static TASKS: TaskStorage<TaskState> = TaskStorage::DEFINITION;

    /// When each thread got and left the CPU, and what is known of its sleep. Made at fork and by the iterators, never
    /// by the scheduler's own hooks: they hold the lock of a run queue.
    #[unsafe(link_section = ".maps")]
    #[unsafe(export_name = "SCHED")]
    static SCHED: TaskStorage<SchedState> = TaskStorage::DEFINITION;

    /// Which of a task's events the first programs have handled, see [`crate::fallback`].
    #[unsafe(link_section = ".maps")]
    #[unsafe(export_name = "MARKS")]
    static MARKS: TaskStorage<u64> = TaskStorage::DEFINITION;

    /// What a map holds for a task; `create` makes it if there is none, zeroed. Null if that fails, or if there is none.
    ///
    /// The kernel refuses for a moment while another CPU creates the first storage of the same task, as the task iterators
    /// do for every task (`-EAGAIN`), and while the allocator's reserve of this CPU is empty, which an interrupt refills.
    /// Hence the second try; docs/kernels.md has the figures.
    ///
    /// # Safety
    ///
    /// `task` is a `task_struct` that the verifier trusts.
    #[inline(always)]
    unsafe fn get<T>(map: *const TaskStorage<T>, task: *mut u8, create: bool) -> *mut T {
        let map = map.cast_mut().cast::<c_void>();
        // SAFETY: by contract; a null initial value means zeroes.
        let value = unsafe { bpf_task_storage_get(map, task.cast(), ptr::null_mut(), u64::from(create)) };
        if !create || !value.is_null() {
            return value.cast();
        }
        // SAFETY: as above.
        unsafe { bpf_task_storage_get(map, task.cast(), ptr::null_mut(), u64::from(create)) }.cast()
    }

    /// The state of a task; `create` makes one if it has none. Null if that fails, or if there is none.
    ///
    /// # Safety
    ///
    /// `task` is a `task_struct` that the verifier trusts.
    #[inline(always)]
    pub unsafe fn state(task: *mut u8, create: bool) -> *mut TaskState {
        // SAFETY: by contract.
        unsafe { get(&raw const TASKS, task, create) }
    }

    /// What the scheduler's hooks know of a task; `create` makes it if there is none. Null if that fails, or if there
    /// is none.
    ///
    /// # Safety
    ///
    /// `task` is a `task_struct` that the verifier trusts, and with `create` no run queue is locked.
    #[inline(always)]
    pub unsafe fn sched(task: *mut u8, create: bool) -> *mut SchedState {
        // SAFETY: by contract.
        unsafe { get(&raw const SCHED, task, create) }
    }

    /// Which of a task's events the first programs have handled; `create` makes room for it. Null if that fails, or if there is none.
    ///
    /// # Safety
    ///
    /// `task` is a `task_struct` that the verifier trusts.
    #[inline(always)]
    pub unsafe fn marks(task: *mut u8, create: bool) -> *mut u64 {
        // SAFETY: by contract.
        unsafe { get(&raw const MARKS, task, create) }
    }
}

#[cfg(feature = "legacy")]
mod tables {
    use core::ptr;

    use agent_ebpf::records::TaskState;
    use agent_ebpf::records::sched::SchedState;
    use aya_ebpf::bindings::BPF_NOEXIST;
    use aya_ebpf::btf_maps::{Array, HashMap};
    use aya_ebpf::macros::btf_map;

    /// As the task storage of the same name. Made in advance: nothing is allocated where a run queue is locked.
    #[btf_map]
    static TASKS: HashMap<u64, TaskState, 65536> = HashMap::new();

    /// As the task storage of the same name.
    #[btf_map]
    static SCHED: HashMap<u64, SchedState, 65536> = HashMap::new();

    /// What a state is at first: not on the stack, which has no room for it.
    #[btf_map]
    static NO_STATE: Array<[u64; 17], 1> = Array::new();

    const _: () = assert!(size_of::<TaskState>() <= 136 && size_of::<SchedState>() <= 136);

    #[inline(always)]
    fn get<T, const N: usize>(map: &HashMap<u64, T, N>, task: *mut u8, create: bool) -> *mut T {
        let key = task as u64;
        if let Some(value) = map.get_ptr_mut(key) {
            return value;
        }
        if !create {
            return ptr::null_mut();
        }
        let Some(zero) = NO_STATE.get_ptr(0) else { return ptr::null_mut() };
        // SAFETY: as long as the longer of both states, which are made of integers. Nothing writes to it.
        let zero = unsafe { &*zero.cast::<T>() };
        // Another CPU may have been first, which is as good.
        let _ = map.insert(key, zero, u64::from(BPF_NOEXIST));
        match map.get_ptr_mut(key) {
            Some(value) => value,
            None => ptr::null_mut(),
        }
    }

    /// The state of a task; `create` makes one if it has none. Null if that fails, or if there is none.
    ///
    /// # Safety
    ///
    /// `task` is the address of a task that is not freed meanwhile.
    #[inline(always)]
    pub unsafe fn state(task: *mut u8, create: bool) -> *mut TaskState {
        get(&TASKS, task, create)
    }

    /// What the scheduler's hooks know of a task; `create` makes it if there is none. Null if that fails, or if there
    /// is none.
    ///
    /// # Safety
    ///
    /// `task` is the address of a task that is not freed meanwhile.
    #[inline(always)]
    pub unsafe fn sched(task: *mut u8, create: bool) -> *mut SchedState {
        get(&SCHED, task, create)
    }

    /// The task at this address is gone.
    #[inline(always)]
    pub fn forget(task: *mut u8) {
        // It may never have been there.
        let _ = TASKS.remove(task as u64);
        let _ = SCHED.remove(task as u64);
    }
}
