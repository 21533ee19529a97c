//! `pamc cost MODEL`: operations by class, energy and area.

use std::path::PathBuf;

use clap::Args;
use pamc_passes::arith::Arith;
use pamc_passes::manager::Manager;
use plotters::prelude::*;
use serde::Serialize;

use super::args::{ArithArgs, ModelArgs};
use super::output::{put, table};
use super::train::TrainArgs;
use crate::compile::{Settings, compile, compile_training};
use crate::cost::{
    ASSUMPTIONS, Counts, Figure, HOROWITZ, Layer, Machine, PAM_SAVING, Price, layers, total,
};
use crate::dsl::Mode;
use crate::error::Error;

/// Arguments of `pamc cost`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  pamc cost @mlp --dim batch=1
  pamc cost @gpt:small --dim batch=1 --train --svg cost.svg
  pamc cost model.onnx --dim batch=1 --json")]
pub struct CostArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// A step of training instead of inference
    #[arg(long)]
    train: bool,
    /// For programs
    #[arg(long)]
    json: bool,
    /// Draw a chart into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    training: TrainArgs,
    #[command(flatten)]
    arith: ArithArgs,
}

#[derive(Serialize)]
struct Row {
    machine: &'static str,
    #[serde(flatten)]
    price: Price,
    /// Energy of the float32 multiply baseline over this one's.
    saving: f64,
}

#[derive(Serialize)]
struct Cost {
    model: String,
    training: bool,
    before: Counts,
    after: Counts,
    float: Counts,
    layers: Vec<LayerRow>,
    machines: Vec<Row>,
    sources: [&'static str; 2],
    figures: &'static [Figure],
    pam_saving: [f64; 2],
    assumptions: &'static [&'static str],
}

#[derive(Serialize)]
struct LayerRow {
    name: String,
    counts: Counts,
    pam: Price,
    float32: Price,
}

const SOURCES: [&str; 2] = [
    "M. Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014: 45 nm, 0.9 V",
    "A. Kosson, M. Jaggi, Multiplication-Free Transformer Training via Piecewise Affine Operations, 2023, appendix B",
];

/// The layers of a model in an arithmetic, with or without the optional passes.
fn measured(args: &CostArgs, arith: Arith, simplify: bool) -> Result<Vec<Layer>, Error> {
    let mut dims = args.model.dims();
    dims.entry("batch".into()).or_insert(1);
    let source = args.model.open()?;
    let manager = Manager { dump: None, bisect: (!simplify).then_some(0) };
    let mut settings = Settings { arith, train: None, manager };
    if !args.train {
        let model = source.build(&dims, Mode::Infer, args.model.seed)?;
        return Ok(layers(compile(model.graph, &settings)?.program.graph()));
    }
    let model = args.training.model(&source, &dims, args.model.seed)?;
    settings.train = Some(args.training.spec(&model, None));
    let program = compile_training(model.graph, &settings)?.program;
    let mut all = layers(program.step.graph());
    if let Some(micro) = &program.micro {
        all.extend((0..program.accumulate).flat_map(|_| layers(micro.graph())));
    }
    Ok(all)
}

/// Count and price.
pub fn run(args: &CostArgs) -> Result<(), Error> {
    let arith = args.arith.arith();
    if arith == Arith::Float {
        return Err(Error::usage(
            "cost compares PAM with floats by itself: leave --arith float out",
        ));
    }
    let before = total(&measured(args, arith, false)?);
    let pam = measured(args, arith, true)?;
    let floats = measured(args, Arith::Float, true)?;
    let (after, float) = (total(&pam), total(&floats));
    let base = Machine::Float32.price(&float);
    let machines = Machine::ALL
        .into_iter()
        .map(|m| {
            let price = m.price(if m.is_pam() { &after } else { &float });
            Row {
                machine: m.name(),
                price,
                saving: base.energy / price.energy.max(f64::MIN_POSITIVE),
            }
        })
        .collect();
    let of_floats = |name: &str| {
        let same = floats.iter().find(|l| l.name == name).map(|l| l.counts).unwrap_or_default();
        Machine::Float32.price(&same)
    };
    let layers = pam
        .into_iter()
        .map(|l| LayerRow {
            pam: Machine::Pam.price(&l.counts),
            float32: of_floats(&l.name),
            counts: l.counts,
            name: l.name,
        })
        .collect();
    let cost = Cost {
        model: args.model.model.clone(),
        training: args.train,
        before,
        after,
        float,
        layers,
        machines,
        sources: SOURCES,
        figures: HOROWITZ,
        pam_saving: PAM_SAVING,
        assumptions: ASSUMPTIONS,
    };
    if let Some(path) = &args.svg {
        put(Some(path), chart(&cost)?.as_bytes())?;
    }
    let text = match args.json {
        true => serde_json::to_string_pretty(&cost).unwrap_or_default() + "\n",
        false => text(&cost),
    };
    put(None, text.as_bytes())
}

fn count_cells(c: &Counts) -> Vec<String> {
    [c.integer_add, c.float_add, c.compare, c.moves, c.table, c.multiply, c.special, c.total()]
        .iter()
        .map(u64::to_string)
        .collect()
}

fn text(cost: &Cost) -> String {
    let head = [
        "",
        "integer add",
        "float add",
        "compare",
        "move",
        "table",
        "multiply",
        "divide, root, exp",
        "all",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    for (name, counts) in [
        ("PAM before rewriting", &cost.before),
        ("PAM after", &cost.after),
        ("floats", &cost.float),
    ] {
        rows.push([vec![name.to_string()], count_cells(counts)].concat());
    }
    let mut out = table(&rows);
    let head = ["layer", "integer add", "float add", "compare", "move", "PAM µJ", "float32 µJ"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for layer in &cost.layers {
        let mut cells = vec![layer.name.clone()];
        cells.extend(count_cells(&layer.counts).into_iter().take(4));
        cells.extend([layer.pam.energy, layer.float32.energy].map(|e| format!("{e:.4}")));
        rows.push(cells);
    }
    out.push('\n');
    out.push_str(&table(&rows));
    let mut rows =
        vec![["arithmetic", "energy µJ", "area mm²", "energy saved"].map(String::from).to_vec()];
    for row in &cost.machines {
        let p = row.price;
        rows.push(vec![
            row.machine.into(),
            format!("{:.4}", p.energy),
            format!("{:.1}", p.area),
            format!("{:.2}×", row.saving),
        ]);
    }
    out.push('\n');
    out.push_str(&table(&rows));
    out.push_str("\nFigures, an operation: ");
    let figures: Vec<String> = cost
        .figures
        .iter()
        .map(|f| format!("{} {} pJ, {} µm²", f.name, f.energy, f.area))
        .collect();
    out.push_str(&format!("{}\n", figures.join("; ")));
    cost.sources.iter().for_each(|s| out.push_str(&format!("Source: {s}\n")));
    cost.assumptions.iter().for_each(|a| out.push_str(&format!("Assumed: {a}\n")));
    out
}

/// Energy of each arithmetic as horizontal bars.
fn chart(cost: &Cost) -> Result<String, Error> {
    let mut svg = String::new();
    let drawn = draw(cost, &mut svg);
    drawn.map_err(|e| Error::usage(format!("the chart cannot be drawn: {e}")))?;
    Ok(svg)
}

fn draw(cost: &Cost, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, (900, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let step = if cost.training { "a training step" } else { "one inference" };
    let path = std::path::Path::new(&cost.model);
    let model = path.file_name().map_or(cost.model.as_str().into(), |name| name.to_string_lossy());
    let title = format!("Energy of {step} of {model}, µJ (45 nm figures of Horowitz 2014)");
    let most = cost.machines.iter().map(|m| m.price.energy).fold(0.0, f64::max).max(1e-12);
    let count = cost.machines.len();
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(16)
        .x_label_area_size(36)
        .y_label_area_size(190)
        .build_cartesian_2d(0.0..most * 1.18, (0..count - 1).into_segmented())?;
    let name = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(n) => {
            let row = count.checked_sub(n + 1).and_then(|row| cost.machines.get(row));
            row.map_or("", |m| m.machine).to_string()
        }
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .x_desc("µJ, and how many times less than with float32 multiply")
        .y_label_formatter(&name)
        .label_style(("sans-serif", 14))
        .draw()?;
    chart.draw_series(cost.machines.iter().enumerate().map(|(n, m)| {
        let at = count - 1 - n;
        let color = if n < 3 { RGBColor(200, 110, 60) } else { RGBColor(50, 110, 170) };
        let corners =
            [(0.0, SegmentValue::Exact(at)), (m.price.energy, SegmentValue::Exact(at + 1))];
        let mut bar = Rectangle::new(corners, color.filled());
        bar.set_margin(8, 8, 0, 0);
        bar
    }))?;
    chart.draw_series(cost.machines.iter().enumerate().map(|(n, m)| {
        let label = format!("{:.3} ({:.2}×)", m.price.energy, m.saving);
        let at = (m.price.energy + most * 0.01, SegmentValue::CenterOf(count - 1 - n));
        Text::new(label, at, ("sans-serif", 14))
    }))?;
    root.present()?;
    Ok(())
}
