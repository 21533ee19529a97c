//! Special values and values at the bounds of the range proofs.

use super::{
    Data, Kernel, Noise, assert_same, data, expected, host, slope_spec, spec, transpose_all,
};

const SPECIAL: [u32; 24] = [
    0x0000_0000,
    0x8000_0000,
    0x0000_0001,
    0x807F_FFFF,
    0x0080_0000,
    0x8080_0000,
    0x0080_0001,
    0x3F80_0000,
    0xBF80_0000,
    0x3FC0_0000,
    0x7F7F_FFFF,
    0xFF7F_FFFF,
    0x7F80_0000,
    0xFF80_0000,
    0x7FC0_0000,
    0x1F80_0000,
    0x5F80_0000,
    0x2000_0000,
    0x6000_0000,
    0x3F7F_FFFF,
    0x3F80_0001,
    0x7F00_0000,
    0xFFFF_FFFF,
    0x0100_0000,
];

/// Changes a few elements at a time, so that every version of the inner kernel gets its turn.
#[test]
fn special_values_anywhere() {
    for base in [spec(&[], 19, 300, 45), slope_spec(&[], 19, 300, 45)] {
        for spec in [base.clone(), transpose_all(&base)] {
            let mut kernel = Kernel::new(&spec, &host(false));
            let mut noise = Noise(77);
            let mut verify = |data: &Data, what: &str| {
                let mut out = vec![f32::NAN; spec.out.len];
                kernel.run(data, &mut out);
                assert_same(&out, &expected(&spec, data), what);
            };
            for value in SPECIAL {
                let mut left = data(&spec, u64::from(value));
                let mut right = data(&spec, u64::from(value));
                let mut both = data(&spec, u64::from(value));
                for _ in 0..3 {
                    let (i, j) = (noise.bits() as usize, noise.bits() as usize);
                    let (i, j) = (i % left.a.len(), j % left.b.len());
                    left.a[i] = f32::from_bits(value);
                    right.b[j] = f32::from_bits(value);
                    both.a[i] = f32::from_bits(value);
                    both.b[j] = f32::from_bits(SPECIAL[(noise.bits() % 24) as usize]);
                    if let Some(at) = both.at.get_mut(i % 800) {
                        *at = f32::from_bits(SPECIAL[(noise.bits() % 24) as usize]);
                    }
                }
                for (side, data) in [("left", left), ("right", right), ("both", both)] {
                    verify(&data, &format!("{value:08x} on the {side}"));
                }
            }
            let mut dense = data(&spec, 5);
            for x in dense.a.iter_mut().chain(&mut dense.b).chain(&mut dense.at) {
                *x = f32::from_bits(SPECIAL[(noise.bits() % 12) as usize]);
            }
            verify(&dense, "finite special values everywhere");
        }
    }
}

/// A few extreme elements in every panel: what the clamped version is for; then all patterns
/// everywhere, which only the full one may take.
#[test]
fn extremes_in_every_panel() {
    const SETS: [&[u32]; 4] = [
        &[0x0080_0000, 0x7F7F_FFFF],
        &[0x0080_0000, 0x7F7F_FFFF, 0x7FC0_0000],
        &[0x8000_0000, 0xFF00_0000, 0xFF80_0001],
        &SPECIAL,
    ];
    for base in [spec(&[], 19, 300, 45), slope_spec(&[], 19, 300, 45)] {
        let mut kernel = Kernel::new(&base, &host(false));
        for (i, (set, every)) in SETS.iter().flat_map(|s| [(s, 97), (s, 31), (s, 3)]).enumerate() {
            let mut data = data(&base, i as u64);
            for side in [&mut data.a, &mut data.b, &mut data.at] {
                for (j, x) in side.iter_mut().step_by(every).enumerate() {
                    *x = f32::from_bits(set[j % set.len()]);
                }
            }
            let mut out = vec![f32::NAN; base.out.len];
            kernel.run(&data, &mut out);
            assert_same(&out, &expected(&base, &data), &format!("{set:08x?} every {every}"));
        }
    }
}

/// Scales put all products next to a bound of the range proofs, on either side of it.
#[test]
fn values_at_the_bounds_of_the_versions() {
    for base in [spec(&[], 11, 270, 35), slope_spec(&[], 11, 270, 35)] {
        let mut kernel = Kernel::new(&base, &host(false));
        for exponent in [1, 2, 3, 11, 12, 13, 14, 23, 24, 25, 26, 100, 230, 231, 240, 241, 242, 253]
        {
            for zeros in [0, 1, 2, 3] {
                let mut data = data(&base, exponent);
                let other = if exponent > 200 { 130 } else { 116 };
                let set = |x: &mut f32, e: u64| {
                    *x = f32::from_bits(x.to_bits() & 0x807F_FFFF | (e as u32) << 23);
                };
                data.a.iter_mut().enumerate().for_each(|(i, x)| set(x, exponent + i as u64 % 2));
                data.b.iter_mut().for_each(|x| set(x, other));
                if zeros & 1 != 0 {
                    data.a.iter_mut().step_by(7).for_each(|x| *x = -0.0);
                }
                if zeros & 2 != 0 {
                    data.b.iter_mut().step_by(5).for_each(|x| *x = 0.0);
                }
                let mut out = vec![f32::NAN; base.out.len];
                kernel.run(&data, &mut out);
                let what = format!("exponents {exponent} + {other}, zeros {zeros}");
                assert_same(&out, &expected(&base, &data), &what);
            }
        }
    }
}
