//! Operations that are no matrix products, and the optimizer, on one thread.

use std::time::Instant;

use pamc::compile::{Settings, compile};
use pamc::dsl::{Init, Mode, Net, Var, Window};
use pamc_lowering::emit::EmitOptions;
use pamc_lowering::exec::{Executable, Session, State};
use pamc_lowering::kernels;
use pamc_passes::arith::Arith;
use pamc_passes::interpret::Values;
use pamc_passes::ir::{Tensor, TensorType};
use pamc_passes::manager::Manager;
use serde_json::json;

use super::{Case, Result, Runner};

/// Elements in one measurement, at least.
const ELEMENTS: usize = 1 << 24;

/// Channels of the convolution's images, which are 32 × 32.
const CHANNELS: usize = 64;

pub fn arith(of: kernels::Arith) -> Arith {
    match of {
        kernels::Arith::Pam => Arith::PAM,
        kernels::Arith::Float => Arith::Float,
    }
}

type Apply = for<'n> fn(&'n Net, Var<'n>, usize) -> Var<'n>;

fn case(what: &'static str, [rows, n]: [usize; 2], apply: Apply) -> Case {
    let elements = rows * n;
    let calls = ELEMENTS.div_ceil(elements);
    let make = move |of| -> Result<Option<Runner>> {
        let net = Net::new("operation", Mode::Infer);
        let x = net.input("x", TensorType::f32([rows, n]));
        net.output("y", apply(&net, x, n));
        let model = net.finish()?;
        let initial = model.initial(0);
        let settings = Settings { arith: arith(of), train: None, manager: Manager::default() };
        let program = compile(model.graph, &settings)?.program;
        // Sessions borrow their code; a benchmark's lives as long as the process.
        let code: &'static _ =
            Box::leak(Box::new(Executable::new(&program, &EmitOptions::default(), None)?));
        let mut state = State::new(code.layout());
        for (name, value) in &initial {
            state.set(name, value)?;
        }
        let mut session = Session::new(code, state);
        let value = |i: usize| ((i * 2_654_435_761) % 8000) as f32 / 1000.0 - 3.9991;
        let input = Tensor::from_vec(&[rows, n], (0..elements).map(value).collect());
        let values: Values = input.into_iter().map(|t| ("x".to_string(), t)).collect();
        session.set(&values)?;
        let run = move || {
            let start = Instant::now();
            for _ in 0..calls {
                session.execute();
            }
            Ok(start.elapsed().as_secs_f64())
        };
        Ok(Some(Runner { run: Box::new(run), bytes: None }))
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
    cases.push(case("gelu_tanh", [2048, 768], |_, x, _| x.gelu(true)));
    cases
}
