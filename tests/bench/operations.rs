//! Operations that are no matrix products, and the optimizer, on one thread.

use std::time::Instant;

use pamc::compile::{Settings, compile};
use pamc::dsl::layers::causal_mask;
use pamc::dsl::{Init, Mode, Net, Var, Window};
use pamc_lowering::emit::EmitOptions;
use pamc_lowering::exec::{Executable, Session, State};
use pamc_lowering::kernels;
use pamc_passes::arith::Arith;
use pamc_passes::interpret::Values;
use pamc_passes::ir::{Tensor, TensorType};
use pamc_passes::manager::Manager;
use serde_json::json;

use super::{Case, OF_PRODUCTS, Result, Runner};

/// Elements in one measurement, at least.
const ELEMENTS: usize = 1 << 24;
/// Products in one measurement of attention, at least.
const PRODUCTS: usize = 1 << 31;

/// Channels of the convolution's images, which are 32 × 32.
const CHANNELS: usize = 64;

pub fn arith(of: kernels::Arith) -> Arith {
    match of {
        kernels::Arith::Pam => Arith::PAM,
        kernels::Arith::Float => Arith::Float,
    }
}

type Apply = for<'n> fn(&'n Net, Var<'n>, usize) -> Var<'n>;

fn value(i: usize) -> f32 {
    ((i * 2_654_435_761) % 8000) as f32 / 1000.0 - 3.9991
}

/// What a model takes for so many runs, its inputs filled with numbers.
fn runner(net: Net, of: kernels::Arith, calls: usize) -> Result<Option<Runner>> {
    let model = net.finish()?;
    let mut values: Values = model.initial(0);
    let settings = Settings { arith: arith(of), train: None, manager: Manager::default() };
    let program = compile(model.graph, &settings)?.program;
    // Sessions borrow their code; a benchmark's lives as long as the process.
    let code: &'static _ =
        Box::leak(Box::new(Executable::new(&program, &EmitOptions::default(), None)?));
    let mut state = State::new(code.layout());
    for (name, value) in &values {
        state.set(name, value)?;
    }
    values.clear();
    for slot in &code.layout().inputs {
        let ty = slot.ty();
        let input = Tensor::from_vec(&ty.shape, (0..ty.len()).map(value).collect());
        values.extend(input.map(|input| (slot.name.clone(), input)));
    }
    let mut session = Session::new(code, state);
    session.set(&values)?;
    let run = move || {
        let start = Instant::now();
        for _ in 0..calls {
            session.execute();
        }
        Ok(start.elapsed().as_secs_f64())
    };
    Ok(Some(Runner { run: Box::new(run), bytes: None }))
}

fn case(what: &'static str, [rows, n]: [usize; 2], apply: Apply) -> Case {
    let elements = rows * n;
    let calls = ELEMENTS.div_ceil(elements);
    let make = move |of| -> Result<Option<Runner>> {
        let net = Net::new("operation", Mode::Infer);
        let x = net.input("x", TensorType::f32([rows, n]));
        net.output("y", apply(&net, x, n));
        runner(net, of, calls)
    };
    Case {
        name: format!("{what} {rows}x{n}"),
        unit: "G elements/s",
        work: (calls * elements) as f64 / 1e9,
        threads: &[1],
        peer: json!({ "what": what, "rows": rows, "n": n, "calls": calls }),
        make: Box::new(make),
    }
}

/// Attention of so many heads, positions and numbers of each.
fn attention([heads, t, d]: [usize; 3], causal: bool) -> Case {
    let products = 2 * heads * t * t * d;
    let calls = PRODUCTS.div_ceil(products);
    let make = move |of| -> Result<Option<Runner>> {
        let net = Net::new("attention", Mode::Infer);
        let [q, k, v] = ["q", "k", "v"].map(|name| net.input(name, TensorType::f32([heads, t, d])));
        let scores = q.matmul(k.transpose(&[0, 2, 1])) * (d as f32).powf(-0.5);
        let scores = if causal { causal_mask(&net, t).select(scores, -1e9) } else { scores };
        net.output("y", scores.softmax(-1).matmul(v));
        runner(net, of, calls)
    };
    Case {
        name: format!("{}attention {heads}x{t}x{d}", if causal { "causal " } else { "" }),
        unit: OF_PRODUCTS,
        work: (calls * products) as f64 / 1e9,
        threads: &[1],
        peer: json!({ "what": "attention", "heads": heads, "t": t, "d": d, "causal": causal,
                      "calls": calls }),
        make: Box::new(make),
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for n in [128, 256, 512, 1024] {
        let shape = [(1 << 20) / n, n];
        cases.push(case("softmax", shape, |_, x, _| x.softmax(-1)));
        cases.push(case("layer_norm", shape, |net, x, n| {
            let gain = net.param("gain", &[n], Init::Ones);
            x.layer_norm(gain, net.param("bias", &[n], Init::Zeros), 1e-5)
        }));
    }
    cases.push(case("conv", [CHANNELS * 8, 32 * 32], |net, x, _| {
        let weight = net.param("weight", &[CHANNELS, CHANNELS, 3, 3], Init::Normal { std: 0.1 });
        let image = x.reshape(&[8, CHANNELS, 32, 32]);
        image.conv(weight, None, &Window::square(3, 1, 1), 1)
    }));
    for shape in [[96, 128, 32], [16, 512, 64], [8, 1024, 64]] {
        cases.push(attention(shape, false));
    }
    cases.push(attention([8, 1024, 64], true));
    cases.push(case("gelu_tanh", [2048, 768], |_, x, _| x.gelu(true)));
    cases
}
