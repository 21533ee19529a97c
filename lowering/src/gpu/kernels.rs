//! The kernels of a program: each one once, and their code.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::plan::{self, Argument, Format, Launch, Module, Requirements};
use super::{GpuTarget, tools};
use crate::Error;
use crate::audit::{self, Nodes};
use crate::codegen::{GpuObject, compile_gpu};
use crate::emit::{Builder, Code, contract, fold, kernel::Shape, nest, scan};
use crate::schedule::Kernel;
use crate::schedule::nest::{Kind, Nest};

/// A kernel that has been written.
pub(super) struct Made {
    pub entry: String,
    pub grid: [u32; 3],
    /// Which of its arguments it writes.
    pub writes: Vec<usize>,
    shape: Shape,
    text: String,
    bindings: usize,
    origin: String,
    /// All nodes that it is launched for.
    nodes: BTreeSet<String>,
}

/// Kernels by what they compute.
pub(super) struct Kernels {
    target: GpuTarget,
    format: Format,
    names: HashMap<Kernel, usize>,
    made: Vec<Made>,
}

/// Code of all kernels.
pub(super) struct Compiled {
    pub modules: Vec<Module>,
    pub kernels: Vec<plan::Kernel>,
    /// Some kernel computes with 64-bit integers.
    pub int64: bool,
}

impl Kernels {
    pub fn new(target: GpuTarget, format: Format) -> Self {
        Kernels { target, format, names: HashMap::new(), made: Vec::new() }
    }

    pub fn made(&self) -> &[Made] {
        &self.made
    }

    /// The kernel for a call, written if it is new, and the arguments that it takes: those that are the
    /// same memory have become one.
    pub fn get(
        &mut self,
        kernel: &Kernel,
        arguments: Vec<Argument>,
        writes: &[bool],
        origin: &str,
    ) -> (usize, Vec<Argument>) {
        let (kernel, arguments, writes) = match kernel {
            Kernel::Nest(nest) => {
                let (nest, arguments, writes) = merged(nest, arguments, writes);
                (Kernel::Nest(nest), arguments, writes)
            }
            other => (other.clone(), arguments, writes.to_vec()),
        };
        let index = match self.names.get(&kernel) {
            Some(&known) => known,
            None => {
                let written = (0..writes.len()).filter(|&i| writes[i]).collect();
                let made = self.write(&kernel, arguments.len(), written, origin);
                self.made.push(made);
                self.names.insert(kernel, self.made.len() - 1);
                self.made.len() - 1
            }
        };
        if !origin.is_empty() {
            self.made[index].nodes.insert(origin.into());
        }
        (index, arguments)
    }

    fn write(&self, kernel: &Kernel, bindings: usize, writes: Vec<usize>, origin: &str) -> Made {
        let code = match self.target {
            GpuTarget::Vulkan(_) => Code::Spirv,
            _ => Code::Llvm,
        };
        let mut b = Builder::of(code);
        b.locate(origin);
        let number = self.made.len();
        let (entry, shape) = match kernel {
            Kernel::Nest(n) => {
                let name = format!("nest_{number}");
                let shape = nest::threads::emit(&mut b, &name, n);
                (name, shape)
            }
            // Nothing is joined to a contraction on a GPU.
            Kernel::Matmul(spec, _) => {
                let name = format!("contract_{number}");
                let shape = contract::threads(&mut b, &name, spec, [&None, &None, &None]);
                (name, shape)
            }
            Kernel::Windowed(windowed) => {
                let name = format!("contract_{number}");
                let windows = windowed.windows.each_ref();
                let shape = contract::threads(&mut b, &name, &windowed.spec, windows);
                (name, shape)
            }
            Kernel::Fold(f) => {
                let name = format!("fold_{number}");
                let shape = fold::threads(&mut b, &name, f);
                (name, shape)
            }
            Kernel::Scan(s) => {
                let name = format!("scan_{number}");
                let shape = scan::threads(&mut b, &name, s);
                (name, shape)
            }
        };
        let (grid, text) = (shape.grid(), b.finish());
        Made {
            entry,
            grid,
            writes,
            shape,
            text,
            bindings,
            origin: origin.into(),
            nodes: BTreeSet::new(),
        }
    }

    /// Compile all of them: for Vulkan each to a module of its own, else a few to one.
    pub fn compile(self) -> Result<Compiled, Error> {
        let format = self.format;
        let count = match format {
            Format::Spirv => self.made.len(),
            _ => self.made.len().div_ceil(TOGETHER),
        };
        // In turns, since the costly ones are neighbours.
        let texts: Vec<(String, Nodes)> = (0..count)
            .map(|m| {
                let kernels = || self.made.iter().skip(m).step_by(count);
                let nodes = Nodes::new(kernels().map(|k| (k.entry.as_str(), &k.nodes)));
                (kernels().map(|k| k.text.as_str()).collect(), nodes)
            })
            .collect();
        let codes = parallel(&texts, |(text, nodes)| {
            let mut object = compile_gpu(text, self.target)?;
            clean(&object, nodes)?;
            match format {
                Format::Cubin => {
                    object.code.extend(nodes.ptx_global().bytes());
                    tools::cubin(&object.code, &self.target.name())
                }
                Format::Hsaco => nodes.in_elf(tools::hsaco(&object.object)?),
                Format::Ptx => {
                    object.code.extend(nodes.ptx_comments().bytes());
                    Ok(object.code)
                }
                _ => Ok(object.code),
            }
        })?;
        let name = |m: usize| match format {
            Format::Spirv => format!("{}.{}", self.made[m].entry, format.ending()),
            _ => format!("kernels_{m}.{}", format.ending()),
        };
        let modules = codes.into_iter().enumerate();
        let modules = modules.map(|(m, bytes)| Module { name: name(m), bytes }).collect();
        let int64 = self.made.iter().any(|m| m.text.contains("i64"));
        let kernels = self.made.into_iter().enumerate().map(|(i, made)| plan::Kernel {
            entry: made.entry,
            module: i % count,
            workgroup: [made.shape.threads as u32, 1, 1],
            shared_bytes: made.shape.shared_bytes(),
            tile: made.shape.tile,
            bindings: made.bindings,
            writes: made.writes,
            origin: made.origin,
        });
        Ok(Compiled { modules, kernels: kernels.collect(), int64 })
    }
}

/// Audits what LLVM made of kernels.
///
/// # Errors
/// [`Error::Program`] with the findings.
fn clean(object: &GpuObject, nodes: &Nodes) -> Result<(), Error> {
    let code = if object.object.is_empty() { &object.code } else { &object.object };
    let mut found = audit::one(code)?;
    if found.is_multiplication_free() {
        return Ok(());
    }
    nodes.attribute(&mut found);
    let message = format!(
        "its GPU code multiplies, so nothing was written; this is a defect of pamc:\n{found}"
    );
    Err(Error::Program { message })
}

/// Kernels in one module, where not each has its own.
const TOGETHER: usize = 8;

/// The results of `work` on each text, or the first failure; on all cores.
fn parallel(
    texts: &[(String, Nodes)],
    work: impl Fn(&(String, Nodes)) -> Result<Vec<u8>, Error> + Sync,
) -> Result<Vec<Vec<u8>>, Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, Result<Vec<u8>, Error>)> = std::thread::scope(|scope| {
        let run = || {
            let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < texts.len());
            std::iter::from_fn(take).map(|i| (i, work(&texts[i]))).collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..threads.min(texts.len())).map(|_| scope.spawn(run)).collect();
        let joined = workers.into_iter().map(|w| w.join());
        joined.flat_map(|w| w.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}

/// A nest whose parameters are all different memory.
fn merged(
    nest: &Nest,
    arguments: Vec<Argument>,
    writes: &[bool],
) -> (Nest, Vec<Argument>, Vec<bool>) {
    let mut kept: Vec<Argument> = Vec::new();
    let mut written: Vec<bool> = Vec::new();
    let mut params = Vec::new();
    let mut map = Vec::new();
    for (i, argument) in arguments.into_iter().enumerate() {
        let same = |p: usize| kept[p] == argument && params[p] == nest.params[i];
        let place = (0..kept.len()).find(|&p| same(p)).unwrap_or_else(|| {
            kept.push(argument);
            written.push(false);
            params.push(nest.params[i]);
            kept.len() - 1
        });
        written[place] |= writes[i];
        map.push(place);
    }
    let mut nest = nest.clone();
    nest.params = params;
    for expr in &mut nest.exprs {
        if let Kind::Load(access, _) = &mut expr.kind {
            access.param = map[access.param];
        }
    }
    nest.stores.iter_mut().for_each(|s| s.access.param = map[s.access.param]);
    (nest, kept, written)
}

/// What a device must be capable of to run kernels and launches.
pub(super) fn requirements<'l>(
    kernels: &[plan::Kernel],
    launches: impl Iterator<Item = &'l Launch>,
    format: Format,
    int64: bool,
) -> Requirements {
    let bytes = launches.flat_map(|l| &l.arguments).map(|a| a.bytes).max();
    Requirements {
        int64,
        argument_bytes: bytes.unwrap_or(0),
        bindings: kernels.iter().map(|k| k.bindings).max().unwrap_or(0),
        shared_bytes: kernels.iter().map(|k| k.shared_bytes).max().unwrap_or(0),
        threads: kernels.iter().map(|k| k.workgroup.iter().product()).max().unwrap_or(0),
        float_controls: format == Format::Spirv,
    }
}
