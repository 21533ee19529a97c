//! What a SPIR-V module asks of a device, and what a device has.

use ash::{Instance, vk};

/// SPIR-V capabilities that a kernel may declare, by their number.
const SHADER: u32 = 1;
const INT64: u32 = 11;
const INT16: u32 = 22;
const INT8: u32 = 39;
const STORAGE_8: u32 = 4448;
const STORAGE_16: u32 = 4433;
const POINTERS: u32 = 4441;
const ALL_POINTERS: u32 = 4442;
const KEEP_SPECIAL: u32 = 4466;
const ROUND_EVEN: u32 = 4467;
const FLUSH: u32 = 4465;

/// The capabilities of a device that kernels may use.
#[derive(Clone, Debug, Default)]
pub(super) struct Features {
    /// Their numbers.
    capabilities: Vec<u32>,
    /// Extensions to enable for them.
    pub extensions: Vec<&'static std::ffi::CStr>,
    /// Vulkan's version.
    version: u32,
}

/// The structures in which Vulkan tells and takes features.
#[derive(Default)]
pub(super) struct Chain {
    pub basic: vk::PhysicalDeviceFeatures,
    bytes: vk::PhysicalDevice8BitStorageFeatures<'static>,
    halves: vk::PhysicalDevice16BitStorageFeatures<'static>,
    small: vk::PhysicalDeviceShaderFloat16Int8Features<'static>,
    pointers: vk::PhysicalDeviceVariablePointersFeatures<'static>,
}

impl Chain {
    /// Run `f` on a list of all structures.
    pub fn with<R>(
        &mut self,
        features: &Features,
        f: impl FnOnce(&mut vk::PhysicalDeviceFeatures2) -> R,
    ) -> R {
        let mut all = vk::PhysicalDeviceFeatures2::default()
            .features(self.basic)
            .push_next(&mut self.halves)
            .push_next(&mut self.pointers);
        if features.knows(ash::khr::_8bit_storage::NAME) {
            all = all.push_next(&mut self.bytes);
        }
        if features.knows(ash::khr::shader_float16_int8::NAME) {
            all = all.push_next(&mut self.small);
        }
        let made = f(&mut all);
        self.basic = all.features;
        made
    }

    /// Only those features that kernels use.
    pub fn used(&self) -> Chain {
        Chain {
            basic: vk::PhysicalDeviceFeatures {
                shader_int64: self.basic.shader_int64,
                shader_int16: self.basic.shader_int16,
                ..Default::default()
            },
            bytes: vk::PhysicalDevice8BitStorageFeatures {
                storage_buffer8_bit_access: self.bytes.storage_buffer8_bit_access,
                ..Default::default()
            },
            halves: vk::PhysicalDevice16BitStorageFeatures {
                storage_buffer16_bit_access: self.halves.storage_buffer16_bit_access,
                ..Default::default()
            },
            small: vk::PhysicalDeviceShaderFloat16Int8Features {
                shader_int8: self.small.shader_int8,
                ..Default::default()
            },
            pointers: vk::PhysicalDeviceVariablePointersFeatures {
                variable_pointers: self.pointers.variable_pointers,
                variable_pointers_storage_buffer: self.pointers.variable_pointers_storage_buffer,
                ..Default::default()
            },
        }
    }
}

impl Features {
    /// Those of a device of at least version 1.1.
    pub fn of(instance: &Instance, device: vk::PhysicalDevice, version: u32) -> Features {
        // SAFETY: the handle comes from this instance.
        let found = unsafe { instance.enumerate_device_extension_properties(device) };
        let found = found.unwrap_or_default();
        let known = [
            ash::khr::storage_buffer_storage_class::NAME,
            ash::khr::_8bit_storage::NAME,
            ash::khr::shader_float16_int8::NAME,
            ash::khr::shader_float_controls::NAME,
        ];
        let has = |name| found.iter().any(|e| e.extension_name_as_c_str() == Ok(name));
        let extensions = known.into_iter().filter(|name| has(name)).collect();
        let mut out = Features { capabilities: vec![SHADER], extensions, version };
        let mut chain = Chain::default();
        // SAFETY: every structure of the list is one that the device knows.
        chain.with(&out, |all| unsafe { instance.get_physical_device_features2(device, all) });
        let mut float = vk::PhysicalDeviceFloatControlsProperties::default();
        if out.knows(ash::khr::shader_float_controls::NAME) {
            let mut all = vk::PhysicalDeviceProperties2::default().push_next(&mut float);
            // SAFETY: as above.
            unsafe { instance.get_physical_device_properties2(device, &mut all) };
        }
        let told = [
            (INT64, chain.basic.shader_int64),
            (INT16, chain.basic.shader_int16),
            (INT8, chain.small.shader_int8),
            (STORAGE_8, chain.bytes.storage_buffer8_bit_access),
            (STORAGE_16, chain.halves.storage_buffer16_bit_access),
            (POINTERS, chain.pointers.variable_pointers_storage_buffer),
            (ALL_POINTERS, chain.pointers.variable_pointers),
            (KEEP_SPECIAL, float.shader_signed_zero_inf_nan_preserve_float32),
            (ROUND_EVEN, float.shader_rounding_mode_rte_float32),
            (FLUSH, float.shader_denorm_flush_to_zero_float32),
        ];
        out.capabilities.extend(told.iter().filter(|(_, on)| *on != 0).map(|(c, _)| c));
        out
    }

    fn knows(&self, extension: &std::ffi::CStr) -> bool {
        self.version >= vk::API_VERSION_1_2 || self.extensions.contains(&extension)
    }

    /// What a SPIR-V module needs that is not there.
    pub fn missing(&self, words: &[u32]) -> Vec<String> {
        let mut out = Vec::new();
        let [_, spirv, ..] = words else { return vec!["a SPIR-V module in the file".into()] };
        let most = match self.version {
            v if v >= vk::API_VERSION_1_3 => 0x0001_0600,
            v if v >= vk::API_VERSION_1_2 => 0x0001_0500,
            _ => 0x0001_0300,
        };
        if *spirv > most {
            out.push(format!("SPIR-V {}.{}", spirv >> 16, spirv >> 8 & 0xFF));
        }
        let asked = capabilities(words).into_iter().filter(|c| !self.capabilities.contains(c));
        out.extend(asked.map(|c| match capability_name(c) {
            Some(name) => format!("the SPIR-V capability {name}"),
            None => format!("the SPIR-V capability number {c}"),
        }));
        out
    }

    /// Names of the capabilities that are there, for listings.
    pub fn names(&self) -> Vec<&'static str> {
        self.capabilities.iter().filter_map(|c| capability_name(*c)).collect()
    }
}

fn capability_name(number: u32) -> Option<&'static str> {
    Some(match number {
        SHADER => "Shader",
        INT64 => "Int64",
        INT16 => "Int16",
        INT8 => "Int8",
        STORAGE_8 => "StorageBuffer8BitAccess",
        STORAGE_16 => "StorageBuffer16BitAccess",
        POINTERS => "VariablePointersStorageBuffer",
        ALL_POINTERS => "VariablePointers",
        KEEP_SPECIAL => "SignedZeroInfNanPreserve",
        ROUND_EVEN => "RoundingModeRTE",
        FLUSH => "DenormFlushToZero",
        _ => return None,
    })
}

/// The numbers in a module's `OpCapability` instructions.
fn capabilities(words: &[u32]) -> Vec<u32> {
    const OP_CAPABILITY: u32 = 17;
    const HEADER: usize = 5;
    let mut out = Vec::new();
    let mut at = HEADER;
    // They come first, before any other instruction.
    while let Some(&[first, capability]) = words.get(at..at + 2)
        && first & 0xFFFF == OP_CAPABILITY
    {
        out.push(capability);
        at += 2;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_named() {
        let op = |c: u32| [2 << 16 | 17, c];
        let header = [0x0723_0203, 0x0001_0600, 0, 9, 0];
        let words = [&header[..], &op(SHADER), &op(INT64), &op(POINTERS), &op(61), &[3 << 16 | 14]];
        let words = words.concat();
        assert_eq!(capabilities(&words), [SHADER, INT64, POINTERS, 61]);
        let old = Features {
            capabilities: vec![SHADER, POINTERS],
            extensions: Vec::new(),
            version: vk::API_VERSION_1_1,
        };
        let said = old.missing(&words);
        let wanted =
            ["SPIR-V 1.6", "the SPIR-V capability Int64", "the SPIR-V capability number 61"];
        assert_eq!(said, wanted);
        let all = vec![SHADER, POINTERS, INT64, 61];
        let new = Features { capabilities: all, version: vk::API_VERSION_1_3, ..old };
        assert_eq!(new.missing(&words), [""; 0]);
    }
}
