//! Convolutions and pooling against plain loops in double precision.

use pamc_passes::ir::{Attr, Attrs};

use crate::common::wide;
use crate::structured::{attrs, check, ints, mean, samples};

/// The value at an index of a row-major array.
fn at(x: &[f64], shape: &[usize], index: &[usize]) -> f64 {
    x[index.iter().zip(shape).fold(0, |flat, (i, d)| flat * d + i)]
}

/// A convolution's geometry.
struct Geometry {
    n: usize,
    channels: usize,
    filters: usize,
    groups: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    pads: [usize; 4],
}

impl Geometry {
    fn out(&self, i: usize) -> usize {
        let padded = self.size[i] + self.pads[i] + self.pads[2 + i];
        (padded - (self.kernel[i] - 1) * self.dilations[i] - 1) / self.strides[i] + 1
    }

    /// Position read along axis i by window `o` at tap `k`, unless it is padding.
    fn read(&self, i: usize, o: usize, k: usize) -> Option<usize> {
        let p = (o * self.strides[i] + k * self.dilations[i]).checked_sub(self.pads[i])?;
        (p < self.size[i]).then_some(p)
    }

    fn attrs(&self) -> Attrs {
        let list = |x: &[usize]| Attr::Ints(x.iter().map(|&d| d as i64).collect());
        attrs(&[
            ("strides", list(&self.strides)),
            ("dilations", list(&self.dilations)),
            ("pads", list(&self.pads)),
            ("groups", Attr::Int(self.groups as i64)),
        ])
    }

    /// Every pair of an input and an output element with the weight between them:
    /// (sample, filter, output position, channel of the group, tap, input position).
    fn visit(&self, mut f: impl FnMut(usize, usize, [usize; 2], usize, [usize; 2], [usize; 2])) {
        let (per, [oh, ow], [kh, kw]) =
            (self.channels / self.groups, [self.out(0), self.out(1)], self.kernel);
        for i in 0..self.n * self.filters * oh * ow * per * kh * kw {
            let (rest, kx) = (i / kw, i % kw);
            let (rest, ky) = (rest / kh, rest % kh);
            let (rest, c) = (rest / per, rest % per);
            let (rest, ox) = (rest / ow, rest % ow);
            let (rest, oy) = (rest / oh, rest % oh);
            let (n, m) = (rest / self.filters, rest % self.filters);
            if let (Some(y), Some(x)) = (self.read(0, oy, ky), self.read(1, ox, kx)) {
                f(n, m, [oy, ox], c, [ky, kx], [y, x]);
            }
        }
    }
}

fn geometries() -> Vec<Geometry> {
    let plain = Geometry {
        n: 2,
        channels: 4,
        filters: 6,
        groups: 1,
        size: [7, 6],
        kernel: [3, 2],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [0; 4],
    };
    vec![
        Geometry { kernel: [1, 1], ..plain },
        Geometry { kernel: [1, 1], strides: [2, 2], ..plain },
        Geometry { groups: 2, strides: [2, 1], pads: [1, 0, 2, 1], ..plain },
        Geometry { groups: 2, kernel: [2, 3], dilations: [2, 2], pads: [1, 1, 1, 1], ..plain },
        plain,
    ]
}

#[test]
fn convolutions() {
    for g in geometries() {
        let per = g.channels / g.groups;
        let mut s = samples("conv", 7);
        let x = s.tensor(&[g.n, g.channels, g.size[0], g.size[1]]);
        let w = s.tensor(&[g.filters, per, g.kernel[0], g.kernel[1]]);
        let bias = s.tensor(&[g.filters]);
        let (oh, ow) = (g.out(0), g.out(1));
        let (xs, ws, bs) = (wide(&x), wide(&w), wide(&bias));
        let mut want: Vec<f64> =
            (0..g.n * g.filters * oh * ow).map(|i| bs[i / (oh * ow) % g.filters]).collect();
        g.visit(|n, m, o, c, k, p| {
            let channel = m / (g.filters / g.groups) * per + c;
            want[((n * g.filters + m) * oh + o[0]) * ow + o[1]] +=
                at(&xs, x.shape(), &[n, channel, p[0], p[1]])
                    * at(&ws, w.shape(), &[m, c, k[0], k[1]]);
        });
        check("conv", &[x, w, bias], g.attrs(), &want);
    }
}

#[test]
fn transposed_convolutions() {
    for g in geometries() {
        let per = g.channels / g.groups;
        let (oh, ow) = (g.out(0), g.out(1));
        let mut s = samples("conv_transpose", 8);
        // The roles of input and output change places.
        let x = s.tensor(&[g.n, g.filters, oh, ow]);
        let w = s.tensor(&[g.filters, per, g.kernel[0], g.kernel[1]]);
        let (xs, ws) = (wide(&x), wide(&w));
        let mut want = vec![0.0; g.n * g.channels * g.size[0] * g.size[1]];
        g.visit(|n, m, o, c, k, p| {
            let channel = m / (g.filters / g.groups) * per + c;
            want[((n * g.channels + channel) * g.size[0] + p[0]) * g.size[1] + p[1]] +=
                at(&xs, x.shape(), &[n, m, o[0], o[1]]) * at(&ws, w.shape(), &[m, c, k[0], k[1]]);
        });
        let extra = |i: usize| {
            let padded = g.size[i] + g.pads[i] + g.pads[2 + i];
            ((padded - (g.kernel[i] - 1) * g.dilations[i] - 1) % g.strides[i]) as i64
        };
        let mut options = g.attrs();
        options.set("output_padding", ints(&[extra(0), extra(1)]));
        check("conv_transpose", &[x, w], options, &want);
    }
}

#[test]
fn convolution_along_one_axis() {
    let mut s = samples("conv", 9);
    let (x, w) = (s.tensor(&[2, 3, 8]), s.tensor(&[4, 3, 3]));
    let (xs, ws) = (wide(&x), wide(&w));
    let mut want = vec![0.0; 2 * 4 * 4];
    for (i, y) in want.iter_mut().enumerate() {
        let (n, m, o) = (i / 16, i / 4 % 4, i % 4);
        for (c, k) in (0..9).map(|j| (j / 3, j % 3)) {
            if let Some(p) = (2 * o + k).checked_sub(1).filter(|&p| p < 8) {
                *y += xs[(n * 3 + c) * 8 + p] * ws[(m * 3 + c) * 3 + k];
            }
        }
    }
    check("conv", &[x, w], attrs(&[("strides", ints(&[2])), ("pads", ints(&[1, 1]))]), &want);
}

/// Windows of a 1-d pooling of extent 7, stride 2, kernel 3 as lists of (inside, position).
fn pooled(x: &[f64], starts: &[i64], pick: impl Fn(&[Option<f64>]) -> f64) -> Vec<f64> {
    x.chunks(7)
        .flat_map(|row| {
            let read = |p: i64| usize::try_from(p).ok().and_then(|p| row.get(p).copied());
            let window = |s: &i64| pick(&(*s..s + 3).map(read).collect::<Vec<_>>());
            starts.iter().map(window).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn pools() {
    let x = samples("avg_pool", 10).tensor(&[2, 3, 7]);
    let v = wide(&x);
    let options = |ceil: bool, pads: [i64; 2], whole: Option<bool>| {
        let mut all = attrs(&[
            ("kernel", ints(&[3])),
            ("strides", ints(&[2])),
            ("pads", ints(&pads)),
            ("ceil_mode", Attr::Bool(ceil)),
        ]);
        if let Some(whole) = whole {
            all.set("count_include_pad", Attr::Bool(whole));
        }
        all
    };
    let most = |w: &[Option<f64>]| w.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let inside = |w: &[Option<f64>]| mean(&w.iter().flatten().copied().collect::<Vec<_>>());
    let x = [x];
    for (starts, ceil, pads) in [
        (&[0, 2, 4][..], false, [0, 0]),
        (&[-1, 1, 3, 5], false, [1, 1]),
        (&[-1, 1, 3], false, [1, 0]),
        (&[-1, 1, 3, 5], true, [1, 0]),
        (&[0, 2, 4], true, [0, 0]),
    ] {
        check("max_pool", &x, options(ceil, pads, None), &pooled(&v, starts, most));
        check("avg_pool", &x, options(ceil, pads, Some(false)), &pooled(&v, starts, inside));
    }
    // Declared padding counts, what ceil_mode adds does not: the last window has two elements.
    let third = |w: &[Option<f64>]| w.iter().flatten().sum::<f64>() / 3.0;
    let mut want = pooled(&v, &[-1, 1, 3, 5], third);
    want.iter_mut().skip(3).step_by(4).for_each(|y| *y *= 1.5);
    check("avg_pool", &x, options(true, [1, 0], Some(true)), &want);
}

#[test]
fn pools_over_everything() {
    let x = samples("avg_pool", 11).tensor(&[2, 3, 4, 5]);
    let v = wide(&x);
    let x = [x];
    let means: Vec<f64> = v.chunks(20).map(mean).collect();
    check("global_avg_pool", &x, Attrs::none(), &means);
    let most: Vec<f64> = v.chunks(20).map(|c| c.iter().copied().fold(0.0, f64::max)).collect();
    check("global_max_pool", &x, Attrs::none(), &most);
    let square: Vec<f64> = (0..6)
        .flat_map(|i| (0..6).map(move |o| (i, o / 3, o % 3)))
        .map(|(i, y, x)| {
            let taps = (0..6).map(|t| v[i * 20 + (y * 2 + t / 3) * 5 + x + t % 3]);
            taps.fold(0.0, f64::max)
        })
        .collect();
    let options = attrs(&[("kernel", ints(&[2, 3])), ("strides", ints(&[2, 1]))]);
    check("max_pool", &x, options, &square);
}
