//! What a plan asks of a Vulkan device, and what the device allows.

use std::collections::BTreeSet;

use ash::vk;
use pamc_lowering::gpu::plan::Plan;

/// Every limit of a device that a plan exceeds.
pub(super) fn over(plan: &Plan, limits: &vk::PhysicalDeviceLimits) -> Vec<String> {
    let mut out = BTreeSet::new();
    let mut check = |what: &str, needed: u64, most: u64| {
        if needed > most {
            out.insert(format!("{what}: {needed} are needed, {most} are allowed"));
        }
    };
    let launches = plan.step.iter().chain(plan.micro.iter().flatten());
    for launch in launches {
        for (groups, most) in launch.grid.iter().zip(limits.max_compute_work_group_count) {
            check("groups of a kernel", u64::from(*groups), u64::from(most));
        }
        for argument in &launch.arguments {
            let most = u64::from(limits.max_storage_buffer_range);
            check("bytes of a tensor", argument.bytes as u64, most);
        }
    }
    for kernel in &plan.kernels {
        for (threads, most) in kernel.workgroup.iter().zip(limits.max_compute_work_group_size) {
            check("threads of a group in one direction", u64::from(*threads), u64::from(most));
        }
        let threads = kernel.workgroup.iter().map(|t| u64::from(*t)).product();
        check("threads of a group", threads, limits.max_compute_work_group_invocations.into());
        let shared = limits.max_compute_shared_memory_size.into();
        check("bytes of shared memory", kernel.shared_bytes as u64, shared);
        let buffers = limits
            .max_per_stage_descriptor_storage_buffers
            .min(limits.max_descriptor_set_storage_buffers);
        check("tensors of a kernel", kernel.bindings as u64, buffers.into());
    }
    out.into_iter().collect()
}
