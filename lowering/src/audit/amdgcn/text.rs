//! Processors, registers and instructions as LLVM writes them.

use super::{Action, Kind, Reg};

/// The processors by the low byte of the ELF header's flags.
pub(super) const PROCESSORS: &[(u32, &str)] = &[
    (0x20, "gfx600"),
    (0x21, "gfx601"),
    (0x22, "gfx700"),
    (0x23, "gfx701"),
    (0x24, "gfx702"),
    (0x25, "gfx703"),
    (0x26, "gfx704"),
    (0x28, "gfx801"),
    (0x29, "gfx802"),
    (0x2a, "gfx803"),
    (0x2b, "gfx810"),
    (0x2c, "gfx900"),
    (0x2d, "gfx902"),
    (0x2e, "gfx904"),
    (0x2f, "gfx906"),
    (0x30, "gfx908"),
    (0x31, "gfx909"),
    (0x32, "gfx90c"),
    (0x33, "gfx1010"),
    (0x34, "gfx1011"),
    (0x35, "gfx1012"),
    (0x36, "gfx1030"),
    (0x37, "gfx1031"),
    (0x38, "gfx1032"),
    (0x39, "gfx1033"),
    (0x3a, "gfx602"),
    (0x3b, "gfx705"),
    (0x3c, "gfx805"),
    (0x3d, "gfx1035"),
    (0x3e, "gfx1034"),
    (0x3f, "gfx90a"),
    (0x41, "gfx1100"),
    (0x42, "gfx1013"),
    (0x43, "gfx1150"),
    (0x44, "gfx1103"),
    (0x45, "gfx1036"),
    (0x46, "gfx1101"),
    (0x47, "gfx1102"),
    (0x48, "gfx1200"),
    (0x49, "gfx1250"),
    (0x4a, "gfx1151"),
    (0x4c, "gfx942"),
    (0x4e, "gfx1201"),
    (0x4f, "gfx950"),
    (0x51, "gfx9-generic"),
    (0x52, "gfx10-1-generic"),
    (0x53, "gfx10-3-generic"),
    (0x54, "gfx11-generic"),
    (0x55, "gfx1152"),
    (0x58, "gfx1153"),
    (0x59, "gfx12-generic"),
];

pub(super) const VECTORS: Reg = 0;
pub(super) const ACCUMULATORS: Reg = 1024;
pub(super) const SCALARS: Reg = 2048;
pub(super) const VCC: Reg = 3000;
pub(super) const EXEC: Reg = 3002;
pub(super) const SCC: Reg = 3004;
pub(super) const M0: Reg = 3005;

/// The registers that an operand names.
pub(super) fn registers(text: &str) -> Vec<Reg> {
    let text = text.trim().trim_start_matches(['-', '|']).trim_end_matches('|');
    let text = text
        .strip_prefix("abs(")
        .or_else(|| text.strip_prefix("neg("))
        .or_else(|| text.strip_prefix("sext("))
        .unwrap_or(text);
    let text = text.trim_end_matches(')').split(' ').next().unwrap_or_default();
    match text {
        "vcc" => return vec![VCC, VCC + 1],
        "vcc_lo" => return vec![VCC],
        "vcc_hi" => return vec![VCC + 1],
        "exec" => return vec![EXEC, EXEC + 1],
        "exec_lo" => return vec![EXEC],
        "exec_hi" => return vec![EXEC + 1],
        "scc" | "src_scc" => return vec![SCC],
        "m0" => return vec![M0],
        _ => {}
    }
    let class = match text.chars().next() {
        Some('v') => VECTORS,
        Some('a') => ACCUMULATORS,
        Some('s') => SCALARS,
        Some('t') if text.starts_with("ttmp") => return Vec::new(),
        _ => return Vec::new(),
    };
    let rest = &text[1..];
    if let Some(range) = rest.strip_prefix('[') {
        let range = range.trim_end_matches(']');
        let (from, to) = range.split_once(':').unwrap_or((range, range));
        return match (from.parse::<Reg>(), to.parse::<Reg>()) {
            (Ok(from), Ok(to)) if to >= from && to < 1024 => {
                (from..=to).map(|n| class + n).collect()
            }
            _ => Vec::new(),
        };
    }
    let digits = rest.split('.').next().unwrap_or(rest);
    digits.parse::<Reg>().map(|n| vec![class + n]).unwrap_or_default()
}

/// What an instruction is by its name without encoding suffixes.
pub(super) fn action(name: &str) -> Action {
    let name =
        name.replacen("v_dual_", "v_", 1).replacen("v_pk_", "p_", 1).replacen("v_s_", "v_", 1);
    let packed = name.starts_with("p_");
    let operation = name.split_once('_').map_or("", |(_, rest)| rest);
    let begins = |stems: &[&str]| stems.iter().any(|s| operation.starts_with(s));
    let float = ["f16", "f32", "f64", "bf16", "dx9", "mix"].iter().any(|t| operation.contains(t));
    // A texture is interpolated, a ray cut with boxes.
    if name.starts_with("image_sample") || name.starts_with("image_bvh") {
        return Action::Data(Kind::DotProduct);
    }
    if !(name.starts_with("v_") || name.starts_with("p_") || name.starts_with("s_")) {
        return Action::None;
    }
    let kind = match () {
        _ if begins(&["mfma", "smfmac", "wmma", "swmmac", "dot"]) => Kind::DotProduct,
        _ if begins(&["fma", "fmac", "fmaa", "fmam"]) => Kind::FusedMultiplyAdd,
        _ if begins(&["mad", "mac"]) && float => Kind::FusedMultiplyAdd,
        _ if begins(&["mul"]) && float || begins(&["ldexp", "mullit"]) => Kind::Multiply,
        _ if begins(&["div_"]) => Kind::Divide,
        _ if begins(&["rcp", "rsq"]) => Kind::Approximation,
        _ if begins(&["sqrt"]) => Kind::SquareRoot,
        _ if begins(&["exp_", "log_", "sin", "cos", "trig", "tanh", "prng"]) => {
            Kind::Transcendental
        }
        _ if begins(&["interp", "cube", "lerp"]) => Kind::Multiply,
        _ if begins(&["mul", "mad"]) && packed => Kind::VectorIntegerMultiply,
        _ if begins(&["mul", "mad"]) => return Action::Integer,
        _ => return Action::None,
    };
    Action::Data(kind)
}

pub(super) fn number(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |d| (true, d));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok().or_else(|| digits.parse::<f64>().ok().map(|_| 3))?,
    };
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_of_integers_makes_a_product_one_of_integers() {
        for name in ["v_mad_legacy_u16", "v_mad_u32_u24", "v_mul_lo_u32", "s_mul_i32"] {
            assert_eq!(action(name), Action::Integer, "{name}");
        }
        for name in ["v_mad_legacy_f16", "v_mad_legacy_f32", "v_fma_legacy_f16"] {
            assert_eq!(action(name), Action::Data(Kind::FusedMultiplyAdd), "{name}");
        }
        for name in ["v_mul_legacy_f32", "v_mul_dx9_zero_f32", "v_pk_mul_f32"] {
            assert_eq!(action(name), Action::Data(Kind::Multiply), "{name}");
        }
        for name in ["v_pk_mul_lo_u16", "v_pk_mad_u16"] {
            assert_eq!(action(name), Action::Data(Kind::VectorIntegerMultiply), "{name}");
        }
    }

    #[test]
    fn what_interpolates_images_multiplies_and_what_moves_them_does_not() {
        for name in ["image_sample", "image_sample_lz_o", "image_bvh_intersect_ray"] {
            assert_eq!(action(name), Action::Data(Kind::DotProduct), "{name}");
        }
        for name in ["image_load", "image_store_mip"] {
            assert_eq!(action(name), Action::None, "{name}");
        }
    }
}
