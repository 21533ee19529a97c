//! The functions of NVIDIA's driver library that are used, found at run time.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;

use libloading::Library;

/// Any of the driver's handles.
pub type Handle = *mut c_void;
/// An address in the device's memory.
pub type Address = u64;
/// What every function returns; 0 is success.
pub type Code = c_int;

macro_rules! api {
    ($($(#[$doc:meta])* $name:ident = $symbol:literal ($($arg:ty),*);)*) => {
        /// The functions, as the CUDA driver API documents them under the names in `load`.
        #[derive(Clone)]
        pub struct Api {
            $($(#[$doc])* pub $name: unsafe extern "C" fn($($arg),*) -> Code,)*
        }

        impl Api {
            /// Find every function in a library, which stays loaded.
            ///
            /// # Errors
            /// Names the library or the function that is not there.
            pub fn load(library: &str) -> Result<Api, String> {
                // SAFETY: the driver's library may be loaded at any time.
                let library = unsafe { Library::new(library) }.map_err(|e| e.to_string())?;
                let library: &'static Library = Box::leak(Box::new(library));
                Ok(Api {
                    $($name: {
                        // SAFETY: the function has this type since the version in its name.
                        let found = unsafe { library.get(concat!($symbol, "\0").as_bytes()) };
                        *found.map_err(|e| format!("its driver is too old: {e}"))?
                    },)*
                })
            }
        }
    };
}

api! {
    /// Start the driver.
    init = "cuInit" (c_uint);
    /// Version of CUDA: 12040 for 12.4.
    version = "cuDriverGetVersion" (*mut c_int);
    /// Name of an error.
    error_name = "cuGetErrorName" (Code, *mut *const c_char);
    /// Number of devices.
    device_count = "cuDeviceGetCount" (*mut c_int);
    /// A device by number.
    device_get = "cuDeviceGet" (*mut c_int, c_int);
    /// Name of a device.
    device_name = "cuDeviceGetName" (*mut c_char, c_int, c_int);
    /// Bytes of a device's memory.
    device_memory = "cuDeviceTotalMem_v2" (*mut usize, c_int);
    /// A number that describes a device.
    device_attribute = "cuDeviceGetAttribute" (*mut c_int, c_int, c_int);
    /// The context that all users of a device share.
    context_retain = "cuDevicePrimaryCtxRetain" (*mut Handle, c_int);
    /// Give it back.
    context_release = "cuDevicePrimaryCtxRelease_v2" (c_int);
    /// Work in a context, on this thread.
    context_set = "cuCtxSetCurrent" (Handle);
    /// Free and total bytes of memory.
    memory_info = "cuMemGetInfo_v2" (*mut usize, *mut usize);
    /// Memory of the device.
    memory_alloc = "cuMemAlloc_v2" (*mut Address, usize);
    /// Free it.
    memory_free = "cuMemFree_v2" (Address);
    /// Memory of the host that the device reads and writes.
    host_alloc = "cuMemHostAlloc" (*mut *mut c_void, usize, c_uint);
    /// Free it.
    host_free = "cuMemFreeHost" (*mut c_void);
    /// Copy to the device.
    copy_up = "cuMemcpyHtoDAsync_v2" (Address, *const c_void, usize, Handle);
    /// Copy to the host.
    copy_down = "cuMemcpyDtoHAsync_v2" (*mut c_void, Address, usize, Handle);
    /// Copy on the device.
    copy_across = "cuMemcpyDtoDAsync_v2" (Address, Address, usize, Handle);
    /// Load PTX or machine code.
    module_load = "cuModuleLoadDataEx" (
        *mut Handle, *const c_void, c_uint, *mut c_int, *mut *mut c_void);
    /// Unload it.
    module_unload = "cuModuleUnload" (Handle);
    /// A kernel by name.
    module_function = "cuModuleGetFunction" (*mut Handle, Handle, *const c_char);
    /// Launch a kernel: groups, threads, shared bytes, stream, parameters.
    launch = "cuLaunchKernel" (
        Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle,
        *mut *mut c_void, *mut *mut c_void);
    /// A queue of work.
    stream_create = "cuStreamCreate" (*mut Handle, c_uint);
    /// Destroy it.
    stream_destroy = "cuStreamDestroy_v2" (Handle);
    /// Wait for a stream.
    stream_synchronize = "cuStreamSynchronize" (Handle);
    /// From here on record what is queued instead of running it.
    capture_begin = "cuStreamBeginCapture_v2" (Handle, c_int);
    /// Stop recording.
    capture_end = "cuStreamEndCapture" (Handle, *mut Handle);
    /// Make a recorded graph ready to run.
    graph_instantiate = "cuGraphInstantiateWithFlags" (*mut Handle, Handle, u64);
    /// Destroy a recorded graph.
    graph_destroy = "cuGraphDestroy" (Handle);
    /// Run a graph.
    graph_launch = "cuGraphLaunch" (Handle, Handle);
    /// Destroy a graph that was ready to run.
    graph_exec_destroy = "cuGraphExecDestroy" (Handle);
    /// A mark in a stream.
    event_create = "cuEventCreate" (*mut Handle, c_uint);
    /// Put a mark into a stream.
    event_record = "cuEventRecord" (Handle, Handle);
    /// Wait until a mark is reached.
    event_synchronize = "cuEventSynchronize" (Handle);
    /// Destroy a mark.
    event_destroy = "cuEventDestroy_v2" (Handle);
}

impl Api {
    /// A code's name: `CUDA_ERROR_OUT_OF_MEMORY`.
    pub fn name_of(&self, code: Code) -> String {
        let mut name = ptr::null();
        // SAFETY: gives a string that lives as long as the library, or none.
        unsafe {
            (self.error_name)(code, &raw mut name);
            match name.is_null() {
                true => format!("code {code}"),
                false => CStr::from_ptr(name).to_string_lossy().into_owned(),
            }
        }
    }
}
