//! Convolutions read from images, forward and backward, without columns in memory.

use pamc_lowering::gpu::plan::{BufferKind, Format};
use pamc_lowering::gpu::{GpuTarget, compile_run};
use pamc_passes::arith::Arith;
use pamc_passes::grad::{GradSpec, differentiate};
use pamc_passes::ir::{Dims, Graph, parse};
use pamc_passes::pass::{expand, lower};
use pamc_passes::program::Program;

use super::contractions::{Sort, check_lowered};

/// A convolution of an image with filters: extents of both, and attributes.
struct Case {
    x: &'static [usize],
    w: &'static [usize],
    attrs: &'static str,
}

const CASES: [Case; 7] = [
    Case { x: &[2, 16, 9, 9], w: &[24, 16, 3, 3], attrs: "pads = [1, 1, 1, 1]" },
    Case { x: &[2, 8, 17, 15], w: &[20, 8, 3, 3], attrs: "strides = [2, 2], pads = [1, 0, 0, 1]" },
    Case {
        x: &[1, 16, 13, 13],
        w: &[17, 16, 3, 2],
        attrs: "dilations = [2, 3], pads = [2, 1, 1, 2]",
    },
    Case { x: &[2, 32, 8, 8], w: &[32, 16, 3, 3], attrs: "groups = 2, pads = [1, 1, 1, 1]" },
    Case { x: &[2, 3, 20, 20], w: &[16, 3, 5, 5], attrs: "" },
    Case { x: &[2, 16, 70], w: &[18, 16, 4], attrs: "strides = [3], pads = [2, 1]" },
    Case { x: &[1, 2, 5, 4], w: &[3, 2, 2, 2], attrs: "pads = [1, 1, 0, 0]" },
];

impl Case {
    /// The sum of the convolution's products with weights, lowered, with both gradients by a rule as
    /// outputs.
    fn graph(&self, rule: &str) -> Graph {
        let shape = |d: &[usize]| d.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let text = format!(
            "graph @f(%x: f32[{}], %w: f32[{}]) -> f32[] {{
                %y = conv %x, %w {{{}}}
                %l = sum %y
                return %l
            }}",
            shape(self.x),
            shape(self.w),
            self.attrs
        );
        let graph = parse(&text, &Dims::new()).unwrap_or_else(|e| panic!("{e} in {text}"));
        let mut graph = lower(&graph, Arith::PAM).expect(self.attrs);
        let [x, w] = ["x", "w"].map(|n| graph.find_input(n).expect("an input").node);
        let (_, loss) = graph.outputs()[0].clone();
        let spec: GradSpec = rule.parse().expect("a rule");
        let made = differentiate(&mut graph, Arith::PAM, loss, &[x, w], &spec).expect(self.attrs);
        for (name, value) in ["dx", "dw"].into_iter().zip(made.values) {
            graph.output(name, value).expect("an output");
        }
        graph
    }
}

#[test]
fn convolutions_and_their_gradients_equal_the_interpreter() {
    for case in &CASES {
        let exact = format!("{}, exact", case.attrs);
        check_lowered(&exact, &case.graph("exact"), &[Sort::Plain, Sort::Mixed]);
        check_lowered(case.attrs, &case.graph("approx"), &[Sort::Mixed]);
    }
}

/// The columns of a 3×3 convolution are nine times the image; working memory has no room for them.
#[test]
fn columns_are_not_in_memory() {
    let text = "graph @f(%x: f32[4, 32, 32, 32], %w: f32[32, 32, 3, 3]) -> f32[4, 32, 32, 32] {
        %r = relu %x
        %y = conv %r, %w {pads = [1, 1, 1, 1]}
        return %y
    }";
    let graph = lower(&parse(text, &Dims::new()).expect("a graph"), Arith::PAM).expect("lowered");
    let program = Program::new(expand(&graph).expect("expanded"), Arith::PAM).expect("a program");
    let made = compile_run(&program, GpuTarget::Nvidia(80), Format::Ptx).expect("compiled");
    let buffers = made.plan.buffers.iter().filter(|b| b.kind == BufferKind::Scratch);
    let scratch: usize = buffers.map(|b| b.bytes).sum();
    // The image, the product before it is copied to the output, the filters.
    assert!(scratch < 3 * 4 * 32 * 32 * 32 * 4, "{scratch} bytes of working memory");
}
