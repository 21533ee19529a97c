//! Operands and outputs without strides: the windows of images, read and summed where they lie.

use super::{Data, check, data, host, rows, slope_spec, spec, transpose_all};
use pamc_lowering::kernels::{Arith, Dim, KernelError, KernelTarget, Kind, MatmulSpec, Operand};
use pamc_lowering::kernels::{Output, emit_matmul, scratch_len};

/// A convolution over padded images without further padding.
#[derive(Clone, Copy)]
struct Conv {
    batch: usize,
    channels: usize,
    filters: usize,
    image: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
    dilation: usize,
}

fn dim(extent: usize, stride: usize) -> Dim {
    Dim { extent, stride: stride as i64 }
}

impl Conv {
    fn places(&self) -> [usize; 2] {
        [0, 1].map(|i| {
            let reach = (self.kernel[i] - 1) * self.dilation + 1;
            (self.image[i] - reach) / self.stride + 1
        })
    }

    fn pixels(&self) -> usize {
        self.image.iter().product()
    }

    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    fn count(&self) -> usize {
        self.places().iter().product()
    }

    /// Channel and kernel position, in this order or the channel last.
    fn elements(&self, channel_last: bool) -> Vec<Dim> {
        let (channel, width) = (dim(self.channels, self.pixels()), self.image[1]);
        let [h, w] = self.kernel;
        let mut dims = vec![channel, dim(h, width * self.dilation), dim(w, self.dilation)];
        if channel_last {
            dims.rotate_left(1);
        }
        dims
    }

    fn windows(&self) -> Vec<Dim> {
        let [h, w] = self.places();
        vec![dim(h, self.image[1] * self.stride), dim(w, self.stride)]
    }

    fn image(&self) -> Operand {
        let size = self.channels * self.pixels();
        Operand { len: self.batch * size, strides: vec![size as i64, 0, 0], ..Operand::default() }
    }

    /// [filters, elements] × [batch, elements, windows].
    fn forward(&self) -> MatmulSpec {
        let depth = self.channels * self.taps();
        let weights =
            Operand { strides: vec![0, depth as i64, 1], ..rows(&[], self.filters, depth) };
        MatmulSpec {
            batch: vec![self.batch],
            m: self.filters,
            k: depth,
            n: self.count(),
            a: weights,
            b: Operand { split: [self.elements(false), self.windows()], ..self.image() },
            out: rows(&[self.batch], self.filters, self.count()),
            output: Output::Store,
            arith: Arith::Pam,
            kind: Kind::Product,
        }
    }

    /// The gradient of the weights: one sum over batch and windows.
    fn weights(&self) -> MatmulSpec {
        let depth = self.channels * self.taps();
        let (count, size) = (self.count(), self.channels * self.pixels());
        let terms = |stride| vec![dim(self.batch, stride)];
        let g = Operand {
            strides: vec![count as i64, 0],
            split: [vec![], [terms(self.filters * count), vec![dim(count, 1)]].concat()],
            ..rows(&[self.batch], self.filters, count)
        };
        let image = Operand {
            strides: vec![0, 0],
            split: [[terms(size), self.windows()].concat(), self.elements(false)],
            ..self.image()
        };
        MatmulSpec {
            batch: vec![],
            m: self.filters,
            k: self.batch * count,
            n: depth,
            a: g,
            b: image,
            out: rows(&[], self.filters, depth),
            output: Output::Store,
            arith: Arith::Pam,
            kind: Kind::Product,
        }
    }

    /// The gradient of the images: [elements, filters] × [batch, filters, windows], summed into them.
    fn input(&self, channel_last: bool) -> MatmulSpec {
        let depth = self.channels * self.taps();
        let mut element = vec![dim(self.channels, self.taps()), dim(self.taps(), 1)];
        if channel_last {
            element.rotate_left(1);
        }
        let weights = Operand {
            strides: vec![0, 0, depth as i64],
            split: [element, vec![]],
            ..rows(&[], self.filters, depth)
        };
        MatmulSpec {
            batch: vec![self.batch],
            m: depth,
            k: self.filters,
            n: self.count(),
            a: weights,
            b: rows(&[self.batch], self.filters, self.count()),
            out: Operand { split: [self.elements(channel_last), self.windows()], ..self.image() },
            output: Output::AddByRows(if channel_last { self.channels } else { 1 }),
            arith: Arith::Pam,
            kind: Kind::Product,
        }
    }
}

fn convolutions() -> [(&'static str, Conv); 6] {
    let base = Conv {
        batch: 2,
        channels: 3,
        filters: 10,
        image: [9, 21],
        kernel: [3, 3],
        stride: 1,
        dilation: 1,
    };
    [
        ("plain", base),
        ("wide", Conv { batch: 5, filters: 33, image: [12, 36], ..base }),
        ("strided", Conv { stride: 2, image: [13, 40], ..base }),
        ("dilated", Conv { dilation: 2, ..base }),
        ("narrow", Conv { image: [7, 5], channels: 5, kernel: [2, 3], ..base }),
        ("patches", Conv { image: [32, 48], kernel: [16, 16], stride: 16, filters: 300, ..base }),
    ]
}

/// The same with the rows for columns.
fn mirrored(spec: &MatmulSpec) -> MatmulSpec {
    let turn = |o: &Operand| {
        let mut o = o.clone();
        let rank = spec.batch.len();
        o.strides.swap(rank, rank + 1);
        o.split.swap(0, 1);
        o
    };
    MatmulSpec {
        m: spec.n,
        n: spec.m,
        a: turn(&spec.b),
        b: turn(&spec.a),
        out: turn(&spec.out),
        output: match spec.output {
            Output::AddByRows(apart) => Output::AddByColumns(apart),
            other => other,
        },
        ..spec.clone()
    }
}

fn with_specials(spec: &MatmulSpec, seed: u64) -> Data {
    let mut data = data(spec, seed);
    for (i, x) in data.a.iter_mut().chain(&mut data.b).enumerate() {
        match i % 61 {
            7 => *x = 0.0,
            19 => *x = -0.0,
            30 if i % 3 == 0 => *x = f32::from_bits(1),
            41 if i % 5 == 0 => *x = f32::NAN,
            _ => {}
        }
    }
    data
}

#[test]
fn convolutions_read_their_windows_in_place() {
    for (name, conv) in convolutions() {
        for (what, spec) in [("forward", conv.forward()), ("weights", conv.weights())] {
            let what = format!("{what} of {name}");
            check(&spec, &host(true), &data(&spec, 11), &what);
            check(&spec, &host(false), &with_specials(&spec, 12), &what);
        }
        let spec = conv.forward();
        let slope = Kind::Slope { at: spec.out.clone() };
        let spec = MatmulSpec { kind: slope, ..spec };
        check(&spec, &host(false), &data(&spec, 13), &format!("slopes of {name}"));
    }
}

/// What a thread computes alone is never packed whole: there are several blocks, the last not full.
#[test]
fn columns_are_packed_block_by_block() {
    let base = convolutions()[0].1;
    let conv = Conv { batch: 4, channels: 30, filters: 9, image: [29, 31], ..base };
    let slopes = slope_spec(&[4], 9, 300, 500);
    for spec in [conv.forward(), spec(&[4], 20, 300, 500), transpose_all(&slopes), slopes] {
        for lanes in [host(true), KernelTarget { lanes: 4, ..host(false) }] {
            check(&spec, &lanes, &with_specials(&spec, 18), &format!("{}x{}", spec.m, spec.n));
        }
        if spec.kind == Kind::Product {
            let scratch = scratch_len(&spec, &host(true)).unwrap();
            assert!(scratch < 4 * spec.k * spec.n, "{scratch}");
        }
    }
}

#[test]
fn overlapping_windows_are_summed_in_order() {
    for (name, conv) in convolutions() {
        for channel_last in [false, true] {
            let spec = conv.input(channel_last);
            let what = format!("input of {name}, channel last {channel_last}");
            check(&spec, &host(true), &data(&spec, 14), &what);
            if !channel_last {
                continue;
            }
            check(&mirrored(&spec), &host(false), &swapped(with_specials(&spec, 15)), &what);
            let at = Operand { split: spec.out.split.clone(), ..conv.image() };
            let slopes = MatmulSpec { kind: Kind::Slope { at }, ..spec };
            check(&slopes, &host(false), &data(&slopes, 16), &format!("slopes, {what}"));
        }
    }
}

fn swapped(data: Data) -> Data {
    Data { a: data.b, b: data.a, at: data.at }
}

#[test]
fn windows_at_every_vector_width() {
    for (lanes, registers) in [(4, 32), (8, 16)] {
        let target = KernelTarget { lanes, registers, parallel: false };
        for (name, conv) in convolutions().into_iter().take(3) {
            for spec in [conv.forward(), conv.weights(), conv.input(true)] {
                check(&spec, &target, &data(&spec, 17), &format!("{name}, {lanes} lanes"));
            }
        }
    }
}

#[test]
fn dimensions_that_do_not_make_up_an_axis_are_refused() {
    let mut spec = convolutions()[0].1.forward();
    spec.b.split[1].pop();
    let refused = emit_matmul("contract", &spec, &host(false)).unwrap_err();
    assert_eq!(refused, KernelError::Split { operand: "b", extent: spec.n });
}
