//! The GPUs that code is generated for.

use super::plan::Format;
use crate::Error;

/// What a GPU module is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GpuTarget {
    /// NVIDIA, by compute capability: 80 for `sm_80`.
    Nvidia(u32),
    /// AMD, by the number of its `gfx` name.
    Amd(AmdChip),
    /// A Vulkan device, by minor version: 1 for Vulkan 1.1.
    Vulkan(u32),
}

/// AMD processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AmdChip {
    /// CDNA 2.
    Gfx90a,
    /// CDNA 3.
    Gfx942,
}

impl AmdChip {
    /// Its `gfx` name.
    pub fn name(self) -> &'static str {
        match self {
            AmdChip::Gfx90a => "gfx90a",
            AmdChip::Gfx942 => "gfx942",
        }
    }
}

/// Every target.
const ALL: [GpuTarget; 9] = [
    GpuTarget::Nvidia(80),
    GpuTarget::Nvidia(86),
    GpuTarget::Nvidia(89),
    GpuTarget::Nvidia(90),
    GpuTarget::Amd(AmdChip::Gfx90a),
    GpuTarget::Amd(AmdChip::Gfx942),
    GpuTarget::Vulkan(1),
    GpuTarget::Vulkan(2),
    GpuTarget::Vulkan(3),
];

impl GpuTarget {
    /// Every target.
    pub fn all() -> impl Iterator<Item = GpuTarget> {
        ALL.into_iter()
    }

    /// Its name: `sm_80`, `gfx90a`, `vulkan1.3`, …
    pub fn name(self) -> String {
        match self {
            GpuTarget::Nvidia(capability) => format!("sm_{capability}"),
            GpuTarget::Amd(chip) => chip.name().into(),
            GpuTarget::Vulkan(minor) => format!("vulkan1.{minor}"),
        }
    }

    /// The formats that its code can have, its own first.
    pub fn formats(self) -> &'static [Format] {
        match self {
            GpuTarget::Nvidia(_) => &[Format::Ptx, Format::Cubin],
            GpuTarget::Amd(_) => &[Format::Hsaco, Format::Amdgcn],
            GpuTarget::Vulkan(_) => &[Format::Spirv],
        }
    }

    /// The target of that name.
    ///
    /// # Errors
    /// Lists the known names.
    pub fn named(name: &str) -> Result<GpuTarget, Error> {
        ALL.into_iter().find(|t| t.name() == name).ok_or_else(|| Error::UnknownTarget {
            name: name.into(),
            known: ALL.iter().map(|t| t.name()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_by_name() {
        for target in ALL {
            assert_eq!(GpuTarget::named(&target.name()).unwrap(), target);
        }
        let message = GpuTarget::named("sm_1").unwrap_err().to_string();
        assert!(message.contains("sm_80") && message.contains("vulkan1.1"), "{message}");
    }
}
