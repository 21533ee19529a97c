//! A CUDA driver that is made up: its memory is the host's, its kernels are those of [`plans`], and what is
//! queued runs as late as the API allows, when somebody waits for it. It counts what it hands out.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;

use super::plans::{COLLECT, SPLIT, UPDATE};
use crate::runtime::gpu::cuda::api::{Address, Api, Code, Handle};

/// What a stream does.
#[derive(Clone)]
enum Work {
    Move(Address, Address, usize),
    Kernel(&'static str, Vec<Address>),
    Graph(usize),
    Mark(usize),
}

/// The driver of one thread.
#[derive(Default)]
pub struct Driver {
    /// Functions called, in order.
    pub calls: Vec<&'static str>,
    /// A function that fails with a code, the n-th time (from 0) that it is called.
    pub failure: Option<(&'static str, usize, Code)>,
    /// Compute capability.
    pub capability: c_int,
    /// Number of devices.
    pub devices: c_int,
    /// Handles given out and not given back, by kind.
    pub open: BTreeMap<&'static str, isize>,
    /// Modules loaded, as text.
    pub modules: Vec<String>,
    memory: BTreeMap<Address, Box<[u64]>>,
    graphs: Vec<Vec<Work>>,
    capture: Option<Vec<Work>>,
    queue: Vec<Work>,
    events: usize,
}

thread_local! {
    static DRIVER: RefCell<Driver> = RefCell::new(Driver::default());
}

/// Use this thread's driver.
pub fn driver<R>(f: impl FnOnce(&mut Driver) -> R) -> R {
    DRIVER.with_borrow_mut(f)
}

/// Start over with a driver for one device of capability 9.0.
pub fn fresh() -> Api {
    driver(|d| *d = Driver { capability: 90, devices: 1, ..Driver::default() });
    api()
}

const KERNELS: [&str; 3] = [COLLECT, UPDATE, SPLIT];

fn call(name: &'static str, f: impl FnOnce(&mut Driver) -> Code) -> Code {
    driver(|d| {
        let before = d.calls.iter().filter(|c| **c == name).count();
        d.calls.push(name);
        match d.failure {
            Some((failing, n, code)) if failing == name && n == before => code,
            _ => f(d),
        }
    })
}

impl Driver {
    fn count(&mut self, kind: &'static str, change: isize) {
        *self.open.entry(kind).or_default() += change;
    }

    /// Give out a handle.
    fn given(&mut self, kind: &'static str, to: *mut Handle, i: usize) -> Code {
        self.count(kind, 1);
        set(to, handle(i))
    }

    fn put(&mut self, work: Work) -> Code {
        match &mut self.capture {
            Some(recorded) => recorded.push(work),
            None => self.queue.push(work),
        }
        0
    }

    fn allocate(&mut self, bytes: usize) -> Address {
        // What was not written is not zero.
        let mut block = vec![u64::MAX; bytes.div_ceil(8)].into_boxed_slice();
        let at = block.as_mut_ptr() as Address;
        self.memory.insert(at, block);
        at
    }

    /// Run what is queued up to a mark, or all.
    fn run(&mut self, until: Option<usize>) {
        while !self.queue.is_empty() {
            let reached = |w: &Work| matches!(w, Work::Mark(m) if Some(*m) == until);
            if until.is_some() && !self.queue.iter().any(reached) {
                return;
            }
            match self.queue.remove(0) {
                Work::Graph(g) => self.graphs[g].clone().into_iter().for_each(run),
                work => run(work),
            }
        }
    }
}

fn run(work: Work) {
    // SAFETY: the addresses are of blocks that are allocated, and long enough.
    let at = |a: Address, i: usize| unsafe { &mut *(a as *mut f32).add(i) };
    match work {
        Work::Move(to, from, bytes) => {
            // SAFETY: as above.
            unsafe { ptr::copy(from as *const u8, to as *mut u8, bytes) };
        }
        Work::Kernel(COLLECT, a) => *at(a[0], 0) += *at(a[1], 0) + *at(a[1], 1),
        Work::Kernel(UPDATE, a) => {
            *at(a[0], 0) += *at(a[1], 0);
            *at(a[1], 0) = 0.0;
            *at(a[2], 0) = *at(a[0], 0) + *at(a[3], 0);
        }
        Work::Kernel(_, a) => {
            *at(a[1], 0) = 0.0;
            *at(a[2], 0) = *at(a[0], 1);
        }
        Work::Graph(_) | Work::Mark(_) => {}
    }
}

fn handle(i: usize) -> Handle {
    ptr::without_provenance_mut(i + 1)
}

fn index(h: Handle) -> usize {
    h.addr() - 1
}

/// Write a result into a variable of the caller's.
fn set<T>(to: *mut T, value: T) -> Code {
    // SAFETY: the driver's callers give variables of the type that a function writes.
    unsafe { to.write(value) };
    0
}

fn closed(kind: &'static str) -> Code {
    driver(|d| d.count(kind, -1));
    0
}

/// A text with its end.
fn text(at: *const c_char) -> String {
    // SAFETY: the driver's callers end their texts.
    unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned()
}

macro_rules! functions {
    ($($name:ident ($($arg:ident : $ty:ty),*) $body:block)*) => {
        fn api() -> Api {
            Api { $($name: {
                extern "C" fn $name($($arg: $ty),*) -> Code $body
                $name
            }),* }
        }
    };
}

functions! {
    init(_flags: c_uint) { call("cuInit", |d| if d.devices == 0 { 100 } else { 0 }) }
    version(to: *mut c_int) { set(to, 12040) }
    error_name(code: Code, to: *mut *const c_char) {
        match code {
            2 => set(to, c"CUDA_ERROR_OUT_OF_MEMORY".as_ptr()),
            218 => set(to, c"CUDA_ERROR_INVALID_PTX".as_ptr()),
            700 => set(to, c"CUDA_ERROR_ILLEGAL_ADDRESS".as_ptr()),
            _ => 1,
        }
    }
    device_count(to: *mut c_int) { call("cuDeviceGetCount", |d| set(to, d.devices)) }
    device_get(to: *mut c_int, number: c_int) { call("cuDeviceGet", |_| set(to, number)) }
    device_name(to: *mut c_char, bytes: c_int, _device: c_int) {
        let name = c"Made-up GPU";
        assert!(name.count_bytes() < bytes as usize);
        // SAFETY: the caller's buffer is that long.
        unsafe { ptr::copy(name.as_ptr(), to, name.count_bytes() + 1) };
        0
    }
    device_memory(to: *mut usize, _device: c_int) { set(to, 1 << 34) }
    device_attribute(to: *mut c_int, which: c_int, _device: c_int) {
        let capability = driver(|d| d.capability);
        set(to, match which {
            75 => capability / 10,
            76 => capability % 10,
            8 => 48 << 10,
            1..=3 => 1024,
            4 => 64,
            5 => i32::MAX,
            _ => 65535,
        })
    }
    context_retain(to: *mut Handle, _device: c_int) {
        call("cuDevicePrimaryCtxRetain", |d| d.given("context", to, 0))
    }
    context_release(_device: c_int) { closed("context") }
    context_set(_context: Handle) { call("cuCtxSetCurrent", |_| 0) }
    memory_info(free: *mut usize, total: *mut usize) {
        set(free, 1 << 20);
        set(total, 1 << 34)
    }
    memory_alloc(to: *mut Address, bytes: usize) {
        call("cuMemAlloc", |d| {
            d.count("memory", 1);
            set(to, d.allocate(bytes))
        })
    }
    memory_free(_at: Address) { closed("memory") }
    host_alloc(to: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        call("cuMemHostAlloc", |d| {
            d.count("host memory", 1);
            set(to, d.allocate(bytes) as *mut c_void)
        })
    }
    host_free(_at: *mut c_void) { closed("host memory") }
    copy_up(to: Address, from: *const c_void, bytes: usize, _stream: Handle) {
        call("cuMemcpyHtoDAsync", |d| d.put(Work::Move(to, from as Address, bytes)))
    }
    copy_down(to: *mut c_void, from: Address, bytes: usize, _stream: Handle) {
        call("cuMemcpyDtoHAsync", |d| d.put(Work::Move(to as Address, from, bytes)))
    }
    copy_across(to: Address, from: Address, bytes: usize, _stream: Handle) {
        call("cuMemcpyDtoDAsync", |d| d.put(Work::Move(to, from, bytes)))
    }
    module_load(
        to: *mut Handle, image: *const c_void, options: c_uint, _names: *mut c_int,
        values: *mut *mut c_void
    ) {
        assert_eq!(options, 2, "the log and its size");
        let image = text(image.cast());
        if image.contains("wrong") {
            let said = c"ptxas: line 7: syntax error";
            // SAFETY: the first value is a log that is long enough.
            unsafe { ptr::copy(said.as_ptr(), (*values).cast(), said.count_bytes() + 1) };
            return 218;
        }
        call("cuModuleLoadDataEx", |d| {
            d.modules.push(image);
            d.given("module", to, d.modules.len())
        })
    }
    module_unload(_module: Handle) { closed("module") }
    module_function(to: *mut Handle, _module: Handle, name: *const c_char) {
        let name = text(name);
        call("cuModuleGetFunction", |_| match KERNELS.iter().position(|k| *k == name) {
            Some(i) => set(to, handle(i)),
            None => 500,
        })
    }
    launch(
        function: Handle, _x: c_uint, _y: c_uint, _z: c_uint, _i: c_uint, _j: c_uint,
        _k: c_uint, shared: c_uint, _stream: Handle, params: *mut *mut c_void,
        extra: *mut *mut c_void
    ) {
        assert!(shared == 0 && extra.is_null());
        let name = KERNELS[index(function)];
        let count = [2, 4, 3][index(function)];
        // SAFETY: the caller gives as many parameters, addresses each.
        let param = |i| unsafe { *(*params.add(i)).cast::<Address>() };
        let params = (0..count).map(param).collect();
        call("cuLaunchKernel", |d| d.put(Work::Kernel(name, params)))
    }
    stream_create(to: *mut Handle, _flags: c_uint) {
        call("cuStreamCreate", |d| d.given("stream", to, 0))
    }
    stream_destroy(_stream: Handle) { closed("stream") }
    stream_synchronize(_stream: Handle) {
        call("cuStreamSynchronize", |d| {
            d.run(None);
            0
        })
    }
    capture_begin(_stream: Handle, _mode: c_int) {
        call("cuStreamBeginCapture", |d| {
            d.capture = Some(Vec::new());
            0
        })
    }
    capture_end(_stream: Handle, to: *mut Handle) {
        let work = driver(|d| d.capture.take().unwrap_or_default());
        call("cuStreamEndCapture", |d| {
            d.graphs.push(work);
            d.given("graph", to, d.graphs.len() - 1)
        })
    }
    graph_instantiate(to: *mut Handle, graph: Handle, _flags: u64) {
        call("cuGraphInstantiate", |d| d.given("ready graph", to, index(graph)))
    }
    graph_destroy(_graph: Handle) { closed("graph") }
    graph_launch(graph: Handle, _stream: Handle) {
        call("cuGraphLaunch", |d| d.put(Work::Graph(index(graph))))
    }
    graph_exec_destroy(_graph: Handle) { closed("ready graph") }
    event_create(to: *mut Handle, _flags: c_uint) {
        call("cuEventCreate", |d| {
            d.events += 1;
            d.given("event", to, d.events)
        })
    }
    event_record(event: Handle, _stream: Handle) {
        call("cuEventRecord", |d| d.put(Work::Mark(index(event))))
    }
    event_synchronize(event: Handle) {
        call("cuEventSynchronize", |d| {
            d.run(Some(index(event)));
            0
        })
    }
    event_destroy(_event: Handle) { closed("event") }
}
