//! Compiling, running and linking small modules.

use pamc_lowering::{
    Error, audit,
    codegen::{
        Cache, Jit, Object, Options, Target, build, compile, link_shared, merge, set_threads,
        threads,
    },
    emit::{EmitOptions, Emitted, module_for_run},
};
use pamc_passes::{
    arith::Arith,
    ir::{Dims, parse},
    program::Program,
};
use std::{ffi::c_void, fs, mem::transmute, process::Command};

/// `y[i] = a[i] + s`, 16 lanes at a time, iterations shared out over threads.
const ADD: &str = r#"
func.func @add(%a: memref<1024xf32>, %y: memref<1024xf32>, %s: f32) {
  %c0 = arith.constant 0 : index
  %c1024 = arith.constant 1024 : index
  %c16 = arith.constant 16 : index
  %v = vector.broadcast %s : f32 to vector<16xf32>
  scf.parallel (%i) = (%c0) to (%c1024) step (%c16) {
    %x = vector.load %a[%i] : memref<1024xf32>, vector<16xf32>
    %z = arith.addf %x, %v : vector<16xf32>
    %out = memref.subview %y[%i] [16] [1]
      : memref<1024xf32> to memref<16xf32, strided<[1], offset: ?>>
    vector.store %z, %out[%c0] : memref<16xf32, strided<[1], offset: ?>>, vector<16xf32>
  }
  return
}
"#;

type Add = extern "C" fn(*const f32, *mut f32, f32);

fn host(text: &str) -> Object {
    compile(text, &Target::host(), &Options::default()).unwrap()
}

fn add_function(symbol: *const c_void) -> Add {
    // SAFETY: the signature of `@add` with bare pointers.
    unsafe { transmute::<*const c_void, Add>(symbol) }
}

#[test]
fn parallel_vector_loop_runs() {
    let jit = Jit::load(&[host(ADD)]).unwrap();
    let add = add_function(jit.symbol("add").unwrap());
    let a: Vec<f32> = (0..1024).map(|i| i as f32).collect();
    for count in [1, 2, 5] {
        set_threads(count);
        assert_eq!(threads(), count);
        let mut y = vec![0.0; 1024];
        add(a.as_ptr(), y.as_mut_ptr(), 0.5);
        assert!(a.iter().zip(&y).all(|(a, y)| a + 0.5 == *y), "{count} threads");
    }
}

#[test]
fn subnormals_are_flushed_on_every_thread_and_the_mode_is_restored() {
    let jit = Jit::load(&[host(ADD)]).unwrap();
    let add = add_function(jit.symbol("add").unwrap());
    let tiny = f32::from_bits(0x0080_0001);
    let subnormal = f32::from_bits(1);
    for (input, sum) in [(tiny, -f32::MIN_POSITIVE), (subnormal, 0.0), (-subnormal, 0.0)] {
        set_threads(2);
        let mut y = vec![1.0; 1024];
        add([input; 1024].as_ptr(), y.as_mut_ptr(), sum);
        assert!(y.iter().all(|y| *y == 0.0), "{input:e} + {sum:e}");
    }
    let ordinary = std::hint::black_box(tiny) - std::hint::black_box(f32::MIN_POSITIVE);
    assert_eq!(ordinary.to_bits(), 1, "the caller's own mode is back");
}

#[test]
fn intermediate_forms_are_kept_on_request() {
    let options =
        Options { keep_lowered: true, keep_llvm: true, keep_assembly: true, ..Options::default() };
    let object = compile(ADD, &Target::named("x86-64-v4").unwrap(), &options).unwrap();
    assert!(object.lowered.unwrap().contains("llvm.func @add"));
    let llvm = object.llvm.unwrap();
    assert!(llvm.contains("\"denormal-fp-math\"=\"preserve-sign,preserve-sign\""));
    assert!(!llvm.contains("fadd fast") && !llvm.contains("fadd nnan"));
    let assembly = object.assembly.unwrap();
    assert!(assembly.contains("zmm") && assembly.contains("ldmxcsr"), "{assembly}");
}

#[test]
fn other_processors_are_compiled_for_but_not_loaded() {
    let options = Options { keep_assembly: true, ..Options::default() };
    let target = Target::named("neoverse-v2").unwrap();
    let object = compile(ADD, &target, &options).unwrap();
    let assembly = object.assembly.as_ref().unwrap();
    assert!(assembly.contains("fadd\tv") && assembly.to_lowercase().contains("fpcr"));
    if cfg!(target_arch = "x86_64") {
        assert!(matches!(Jit::load(&[object]), Err(Error::Llvm { .. })));
    }
}

#[test]
fn modules_compile_in_parallel() {
    std::thread::scope(|scope| {
        for index in 0..4 {
            scope.spawn(move || {
                let text = ADD.replace("@add", &format!("@add{index}"));
                Jit::load(&[host(&text)]).unwrap().symbol(&format!("add{index}")).unwrap();
            });
        }
    });
}

#[test]
fn objects_call_each_other() {
    let caller = "func.func private @one() -> i32
        func.func @two() -> i32 {
          %a = func.call @one() : () -> i32
          %b = arith.addi %a, %a : i32
          return %b : i32
        }";
    let callee = "func.func @one() -> i32 { %c = arith.constant 21 : i32 return %c : i32 }";
    let jit = Jit::load(&[host(caller), host(callee)]).unwrap();
    let symbol = jit.symbol("two").unwrap();
    // SAFETY: the signature of `@two`.
    let two = unsafe { transmute::<*const c_void, extern "C" fn() -> i32>(symbol) };
    assert_eq!(two(), 42);
    let alone = Jit::load(&[host(caller)]).unwrap();
    let error = alone.symbol("two").unwrap_err().to_string();
    assert!(error.contains("one"), "{error}");
}

#[test]
fn errors_say_what_and_where() {
    let target = Target::host();
    let fail = |text: &str| compile(text, &target, &Options::default()).unwrap_err().to_string();
    let syntax = fail("func.func @f() {\n  %x = arith.bogus 1\n}");
    assert!(syntax.contains("parse") && syntax.contains(":2:") && syntax.contains("arith.bogus"));
    let types =
        fail("func.func @f(%a: f32) -> f32 { %b = arith.addi %a, %a : f32 return %b : f32 }");
    assert!(types.contains("arith.addi"), "{types}");
    let stuck = fail("func.func @f(%a: tensor<4xf32>) { return }");
    assert!(stuck.contains("lower") || stuck.contains("translate"), "{stuck}");
    let unknown = Target::named("z80").unwrap_err().to_string();
    assert!(unknown.contains("z80") && unknown.contains("znver4") && unknown.contains("native"));
    let jit = Jit::load(&[host(ADD)]).unwrap();
    assert!(matches!(jit.symbol("nothing"), Err(Error::MissingSymbol { .. })));
    let garbage = Object { bytes: vec![7; 64], ..host(ADD) };
    let loaded = Jit::load(&[garbage]).and_then(|jit| jit.symbol("add").map(|_| ()));
    assert!(loaded.is_err());
}

#[test]
fn every_named_target_generates_code() {
    for name in Target::names() {
        let object = compile(ADD, &Target::named(name).unwrap(), &Options::default()).unwrap();
        assert_eq!(&object.bytes[..4], b"\x7fELF", "{name}");
    }
}

#[test]
fn shared_libraries_are_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libadd.so");
    link_shared(&[host(ADD)], &path).unwrap();
    let needed = Command::new("readelf").arg("-d").arg(&path).output().unwrap();
    let needed = String::from_utf8_lossy(&needed.stdout).into_owned();
    assert!(needed.contains("libomp.so.5") && needed.contains("libadd.so"), "{needed}");
    // SAFETY: the library has no initializers, and the signature is that of `@add`.
    unsafe {
        let library = libloading::Library::new(&path).unwrap();
        let add = library.get::<Add>(b"add").unwrap();
        let mut y = vec![0.0; 1024];
        add([1.0; 1024].as_ptr(), y.as_mut_ptr(), 2.0);
        assert_eq!(y, [3.0; 1024]);
    }
    let broken = folder.path().join("broken.so");
    let garbage = Object { bytes: vec![7; 64], ..host(ADD) };
    assert!(matches!(link_shared(&[garbage], &broken), Err(Error::Link { .. })));
    let names: Vec<_> = folder.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["libadd.so"]);
}

/// Two contractions, one of them large enough for threads, and a nest behind them.
fn small_program(function: &str) -> Emitted {
    let text = "graph @f(%x: f32[96, 80], param %w: f32[80, 96]) -> f32[96, 80] {
        %a = pam.matmul %x, %w
        %b = pam.matmul %a, %x
        %y = abs %b
        return y = %y
    }";
    let graph = parse(text, &Dims::default()).unwrap();
    let program = Program::new(graph, Arith::PAM).unwrap();
    let options = EmitOptions { function: function.into(), ..EmitOptions::default() };
    module_for_run(&program, &Target::host(), &options).unwrap()
}

#[test]
fn parts_are_compiled_once_and_always_to_the_same_code() {
    let parts = small_program("run").parts;
    let (target, options) = (Target::host(), Options::default());
    let bytes = |cache: &Cache| -> Vec<Vec<u8>> {
        let objects = build(&parts, &target, &options, Some(cache)).unwrap();
        objects.into_iter().map(|o| o.bytes).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let anew = bytes(&cache);
    let other = tempfile::tempdir().unwrap();
    assert_eq!(bytes(&Cache::open(other.path()).unwrap()), anew, "in another folder");
    let files =
        || -> Vec<_> { fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect() };
    assert_eq!(files().len(), anew.len());
    assert_eq!(bytes(&cache), anew, "from the cache");
    fs::write(&files()[0], b"damaged").unwrap();
    assert_eq!(bytes(&cache), anew, "with a damaged file");
}

#[test]
fn programs_that_share_kernels_link_and_export_only_their_functions() {
    let (target, options) = (Target::host(), Options::default());
    let object = |function| {
        let parts = small_program(function).parts;
        merge(build(&parts, &target, &options, None).unwrap()).unwrap()
    };
    let objects = [object("first"), object("second")];
    for object in &objects {
        let report = audit::object(&object.bytes).unwrap();
        assert!(report.is_multiplication_free(), "{report}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libboth.so");
    link_shared(&objects, &path).unwrap();
    let symbols = Command::new("nm").args(["-D", "--defined-only"]).arg(&path).output().unwrap();
    let symbols = String::from_utf8_lossy(&symbols.stdout).into_owned();
    let mut names: Vec<_> = symbols.lines().filter_map(|l| l.split(' ').next_back()).collect();
    names.sort_unstable();
    assert_eq!(names, ["first", "second"], "{symbols}");
}
