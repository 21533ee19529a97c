//! Every kind of multiplication, planted in every format, is found; index arithmetic is not.

use pamc_lowering::{
    audit::{self, Kind, Outcome, Report},
    codegen::{Options, Target, compile, compile_gpu},
    gpu::GpuTarget,
};

/// How a kernel becomes a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Cpu(&'static str),
    LlvmIr,
    Mlir,
    Gpu(&'static str),
}

const FORMS: [Form; 9] = [
    Form::Cpu("x86-64-v2"),
    Form::Cpu("x86-64-v4"),
    Form::Cpu("neoverse-v2"),
    Form::LlvmIr,
    Form::Mlir,
    Form::Gpu("sm_80"),
    Form::Gpu("sm_90"),
    Form::Gpu("gfx90a"),
    Form::Gpu("vulkan1.1"),
];

/// The file of a kernel over arrays `%a`, `%o` of floats and `%i` of integers, at index `%t`.
fn file(form: Form, body: &str) -> Result<Vec<u8>, pamc_lowering::Error> {
    if let Form::Gpu(name) = form {
        let target = GpuTarget::named(name)?;
        let space =
            if name.starts_with("vulkan") { ", #spirv.storage_class<StorageBuffer>" } else { "" };
        let attributes = match name.starts_with("vulkan") {
            true => "{spirv.entry_point_abi = #spirv.entry_point_abi<workgroup_size = [64, 1, 1]>}",
            false => "{gpu.known_block_size = array<i32: 64, 1, 1>}",
        };
        let text = format!(
            "gpu.func @k(%a: memref<4096xf32{space}>, %i: memref<4096xi32{space}>, %o: memref<4096xf32{space}>) \
             kernel attributes {attributes} {{\n%t = gpu.thread_id x\n{}\ngpu.return }}\n",
            body.replace("SPACE", space)
        );
        let object = compile_gpu(&text, target)?;
        return Ok(if object.object.is_empty() { object.code } else { object.object });
    }
    let text = format!(
        "func.func @k(%a: memref<4096xf32>, %i: memref<4096xi32>, %o: memref<4096xf32>, %t: index) {{\n{}\nreturn }}\n",
        body.replace("SPACE", "")
    );
    let options = Options { keep_llvm: true, flush_subnormals: false, ..Options::default() };
    Ok(match form {
        Form::Mlir => text.into_bytes(),
        Form::LlvmIr => {
            compile(&text, &Target::host(), &options)?.llvm.unwrap_or_default().into_bytes()
        }
        Form::Cpu(name) => compile(&text, &Target::named(name)?, &options)?.bytes,
        Form::Gpu(_) => unreachable!("handled above"),
    })
}

/// A kernel around operations from `%x: f32` and `%n: i32` to `%y: f32`.
fn around(operations: &str) -> String {
    format!(
        "%x = memref.load %a[%t] : memref<4096xf32SPACE>
         %n = memref.load %i[%t] : memref<4096xi32SPACE>
         {operations}
         memref.store %y, %o[%t] : memref<4096xf32SPACE>"
    )
}

const INTEGER: &[Kind] = &[Kind::IntegerMultiply];
const CALLED: &[Kind] = &[
    Kind::Transcendental,
    Kind::LibraryCall,
    Kind::UnknownCall,
    Kind::Approximation,
    Kind::Multiply,
    Kind::FusedMultiplyAdd,
    Kind::DotProduct,
    Kind::IntegerMultiply,
    Kind::SquareRoot,
];

/// What is planted, and the kinds of which it must be one at least.
const PLANTED: &[(&str, &[Kind])] = &[
    ("%y = arith.mulf %x, %x : f32", &[Kind::Multiply]),
    ("%c = arith.constant 3.0 : f32 %y = arith.mulf %x, %c : f32", &[Kind::Multiply]),
    (
        "%c = arith.sitofp %n : i32 to f32 %y = arith.divf %x, %c : f32",
        &[Kind::Divide, Kind::Multiply],
    ),
    ("%y = math.fma %x, %x, %x : f32", &[Kind::FusedMultiplyAdd, Kind::LibraryCall]),
    ("%y = math.sqrt %x : f32", &[Kind::SquareRoot, Kind::LibraryCall, Kind::Approximation]),
    ("%y = math.exp %x : f32", CALLED),
    ("%y = math.tanh %x : f32", CALLED),
    ("%m = arith.muli %n, %n : i32 %y = arith.bitcast %m : i32 to f32", INTEGER),
    (
        "%b = arith.bitcast %x : f32 to i32 %m = arith.muli %n, %b : i32
         %y = arith.bitcast %m : i32 to f32",
        INTEGER,
    ),
    (
        "%c = arith.constant 77 : i32 %m = arith.divsi %c, %n : i32
         %y = arith.bitcast %m : i32 to f32",
        INTEGER,
    ),
    ("%m = arith.muli %n, %n : i32 %y = arith.sitofp %m : i32 to f32", INTEGER),
    (
        "%c = arith.constant 77 : i32 %m = arith.remsi %c, %n : i32
         %y = arith.bitcast %m : i32 to f32",
        INTEGER,
    ),
    (
        "%c = arith.constant 77 : i32 %m = arith.divui %c, %n : i32
         %y = arith.uitofp %m : i32 to f32",
        INTEGER,
    ),
    (
        "%h = arith.truncf %x : f32 to f16 %m = arith.mulf %h, %h : f16
         %y = arith.extf %m : f16 to f32",
        &[Kind::Multiply, Kind::LibraryCall],
    ),
    (
        "%h = arith.truncf %x : f32 to bf16 %m = arith.mulf %h, %h : bf16
         %y = arith.extf %m : bf16 to f32",
        // Some multiply and add −0.
        &[Kind::Multiply, Kind::FusedMultiplyAdd],
    ),
    (
        "%h = arith.extf %x : f32 to f64 %m = arith.mulf %h, %h : f64
         %y = arith.truncf %m : f64 to f32",
        &[Kind::Multiply],
    ),
    (
        "%h = arith.extf %x : f32 to f64 %m = arith.divf %h, %h : f64
         %y = arith.truncf %m : f64 to f32",
        &[Kind::Divide, Kind::FusedMultiplyAdd],
    ),
    ("%y = math.rsqrt %x : f32", CALLED),
    ("%y = math.log %x : f32", CALLED),
    ("%y = math.sin %x : f32", CALLED),
    ("%y = math.cos %x : f32", CALLED),
    ("%y = math.exp2 %x : f32", CALLED),
    ("%y = math.powf %x, %x : f32", CALLED),
    (
        "%c = arith.sitofp %n : i32 to f32 %y = arith.remf %x, %c : f32",
        &[Kind::Divide, Kind::LibraryCall, Kind::UnknownCall, Kind::FusedMultiplyAdd],
    ),
    (
        "%v = vector.broadcast %x : f32 to vector<4xf32> %p = arith.mulf %v, %v : vector<4xf32>
         %y = vector.extract %p[1] : f32 from vector<4xf32>",
        &[Kind::Multiply],
    ),
    (
        "%m = arith.muli %n, %n : i32 %c = arith.constant 77 : i32
         %b = arith.cmpi sgt, %m, %c : i32
         %z = arith.constant 0.0 : f32 %y = arith.select %b, %x, %z : f32",
        INTEGER,
    ),
];

/// Of index arithmetic: a gather, divisions, a triangle, a loop with a bound that is a product.
const CLEAN: &str = "
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c3 = arith.constant 3 : index
    %c7 = arith.constant 7 : index
    %c9 = arith.constant 9 : index
    %c4095 = arith.constant 4095 : index
    %z = arith.constant 0.0 : f32
    %n = memref.load %i[%t] : memref<4096xi32SPACE>
    %s = arith.index_cast %n : i32 to index
    %row = arith.muli %s, %c9 : index
    %q = arith.divui %t, %c7 : index
    %r = arith.remui %t, %c7 : index
    %bound = arith.muli %r, %c3 : index
    scf.for %j = %c0 to %bound step %c1 {
      %e = arith.muli %q, %j : index
      %f = arith.addi %e, %row : index
      %g = arith.minui %f, %c4095 : index
      %x = memref.load %a[%g] : memref<4096xf32SPACE>
      %p = arith.muli %j, %c9 : index
      %inside = arith.cmpi ult, %p, %t : index
      %k = arith.select %inside, %x, %z : f32
      %w = arith.addf %k, %x : f32
      %h = arith.minui %e, %c4095 : index
      memref.store %w, %o[%h] : memref<4096xf32SPACE>
    }";

#[test]
fn every_kind_is_found_in_every_format() {
    std::thread::scope(|scope| {
        for forms in FORMS.chunks(FORMS.len().div_ceil(2)) {
            scope.spawn(move || forms.iter().for_each(|form| planted(*form)));
        }
    });
}

fn planted(form: Form) {
    for (operations, kinds) in PLANTED {
        let bytes = match file(form, &around(operations)) {
            Ok(bytes) => bytes,
            // What a back end cannot compile cannot come out of it either.
            Err(error) => {
                println!("skipped: {form:?} has no code for {operations}: {error}");
                assert!(matches!(form, Form::Gpu(_)), "{form:?} {operations}: {error}");
                continue;
            }
        };
        let report = audit::one(&bytes).unwrap();
        assert!(!report.is_multiplication_free(), "{form:?} {operations}: {report}");
        // A quotient of integers is computed with floats on GPUs, a call may be inlined.
        let found = report.findings.iter().any(|f| kinds.contains(&f.kind));
        assert!(found, "{form:?} {operations}: {report}");
        assert!(
            report.findings.iter().all(|f| f.function == "k"),
            "{form:?} {operations}: {report}"
        );
    }
}

#[test]
fn index_arithmetic_is_clean_in_every_format() {
    for form in FORMS {
        let report = audit::one(&file(form, CLEAN).unwrap()).unwrap();
        assert!(report.is_multiplication_free(), "{form:?}: {report}");
        assert!(report.address_multiplies() > 0, "{form:?}: {report}");
    }
}

/// The number of a thread taken apart and kept as a number.
const POSITION: &str = "
    %seven = arith.constant 7 : index
    %digit = arith.remui %t, %seven : index
    %int = arith.index_cast %digit : index to i32
    %float = arith.sitofp %int : i32 to f32
    memref.store %float, %o[%t] : memref<4096xf32SPACE>";

/// The same with something that was read in it.
const SCALED_POSITION: &str = "
    %read = memref.load %i[%t] : memref<4096xi32SPACE>
    %number = arith.index_cast %t : index to i32
    %product = arith.muli %number, %read : i32
    %float = arith.sitofp %product : i32 to f32
    memref.store %float, %o[%t] : memref<4096xf32SPACE>";

#[test]
fn positions_of_threads_are_data_only_with_data() {
    for form in FORMS.into_iter().filter(|form| matches!(form, Form::Gpu(_))) {
        let report = audit::one(&file(form, POSITION).unwrap()).unwrap();
        assert!(report.is_multiplication_free(), "{form:?}: {report}");
        assert!(report.address_multiplies() > 0, "{form:?}: {report}");
        let report = audit::one(&file(form, SCALED_POSITION).unwrap()).unwrap();
        assert_eq!(report.count(Kind::IntegerMultiply), 1, "{form:?}: {report}");
    }
}

/// An integer product by a constant.
const SCALED: &str = "%c = arith.constant 1000003 : i32 %m = arith.muli %n, %c : i32
    %y = arith.bitcast %m : i32 to f32";

#[test]
fn products_by_constants_are_found_where_llvm_does_not_take_them_apart() {
    for form in FORMS {
        let report = audit::one(&file(form, &around(SCALED)).unwrap()).unwrap();
        let kept = matches!(form, Form::Mlir | Form::Gpu("vulkan1.1"));
        assert_eq!(report.count(Kind::IntegerMultiply), usize::from(kept), "{form:?}: {report}");
    }
}

/// Audits PTX with some instructions on `%f1`, `%r1` and `%rd1` between a load and a store.
fn ptx(instructions: &str) -> Report {
    let text = format!(
        ".version 7.8\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 k_param_0) {{
         .reg .f32 %f<9>; .reg .b32 %r<9>; .reg .b64 %rd<9>;
         ld.param.u64 %rd1, [k_param_0];
         ld.global.f32 %f1, [%rd1]; ld.global.u32 %r1, [%rd1+4];
         {instructions}
         st.global.f32 [%rd1], %f2; st.global.u32 [%rd1+8], %r2; ret; }}"
    );
    audit::one(text.as_bytes()).unwrap()
}

#[test]
fn instructions_of_nvidia_are_classified() {
    for (instructions, kind) in [
        ("mul.f32 %f2, %f1, %f1;", Kind::Multiply),
        ("mul.f32 %f2, %f1, 0f3F800000;", Kind::Multiply),
        ("fma.rn.f32 %f2, %f1, %f1, %f1;", Kind::FusedMultiplyAdd),
        ("mad.f32 %f2, %f1, %f1, %f1;", Kind::FusedMultiplyAdd),
        ("div.approx.f32 %f2, %f1, %f1;", Kind::Divide),
        ("rcp.approx.ftz.f32 %f2, %f1;", Kind::Approximation),
        ("rsqrt.approx.f32 %f2, %f1;", Kind::Approximation),
        ("sqrt.rn.f32 %f2, %f1;", Kind::SquareRoot),
        ("ex2.approx.ftz.f32 %f2, %f1;", Kind::Transcendental),
        ("lg2.approx.f32 %f2, %f1;", Kind::Transcendental),
        ("tanh.approx.f32 %f2, %f1;", Kind::Transcendental),
        ("dp4a.u32.u32 %r2, %r1, %r1, %r1;", Kind::DotProduct),
        ("tex.1d.v4.f32.s32 {%f2,%f3,%f4,%f5}, [%rd1, {%r1}];", Kind::DotProduct),
        (
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f2,%f3,%f4,%f5}, {%r1,%r1,%r1,%r1}, {%r1,%r1}, {%f1,%f1,%f1,%f1};",
            Kind::DotProduct,
        ),
        ("mul.lo.s32 %r2, %r1, %r1;", Kind::IntegerMultiply),
        ("mad.lo.s32 %r2, %r1, 3, %r1;", Kind::IntegerMultiply),
        ("mul.wide.u32 %rd2, %r1, %r1; cvt.u32.u64 %r2, %rd2;", Kind::IntegerMultiply),
        ("rem.u32 %r2, %r1, 7;", Kind::IntegerMultiply),
        ("frobnicate.f32 %f2, %f1;", Kind::Unknown),
    ] {
        let report = ptx(instructions);
        assert_eq!(report.findings.len(), 1, "{instructions}: {report}");
        assert_eq!(report.count(kind), 1, "{instructions}: {report}");
    }
    for instructions in [
        "add.f32 %f2, %f1, %f1; shl.b32 %r2, %r1, 23;",
        "mul.lo.s32 %r2, %r1, 8;",
        "mul.wide.u32 %rd2, %r1, 12; add.s64 %rd3, %rd1, %rd2; ld.global.f32 %f2, [%rd3];",
    ] {
        let report = ptx(instructions);
        assert!(report.is_multiplication_free(), "{instructions}: {report}");
    }
}

#[test]
fn operations_of_compiler_dialects_are_classified() {
    let function = |body: &str| {
        format!(
            "func.func @k(%m: memref<4x4xf32>, %v: vector<4xf32>, %n: vector<4xi32>, %p: memref<4xi32>, %f: memref<4xf32>, %t: index) {{ {body} return }}"
        )
    };
    for (body, kind) in [
        (
            "linalg.matmul ins(%m, %m : memref<4x4xf32>, memref<4x4xf32>) outs(%m : memref<4x4xf32>)",
            Kind::DotProduct,
        ),
        ("linalg.exp ins(%m : memref<4x4xf32>) outs(%m : memref<4x4xf32>)", Kind::Transcendental),
        ("%y = vector.fma %v, %v, %v : vector<4xf32>", Kind::FusedMultiplyAdd),
        ("%y = vector.outerproduct %v, %v : vector<4xf32>, vector<4xf32>", Kind::DotProduct),
        ("%y = vector.reduction <mul>, %v : vector<4xf32> into f32", Kind::Multiply),
        ("%y = arith.muli %n, %n : vector<4xi32>", Kind::VectorIntegerMultiply),
        ("%y = math.rsqrt %v : vector<4xf32>", Kind::Approximation),
        ("%y = math.powf %v, %v : vector<4xf32>", Kind::Transcendental),
        ("%y = arith.remf %v, %v : vector<4xf32>", Kind::Divide),
        ("%y = \"other.op\"(%v) : (vector<4xf32>) -> vector<4xf32>", Kind::Unknown),
        (
            "%y = affine.apply affine_map<(d0) -> (d0 * 5)>(%t) %z = arith.index_cast %y : index to i32 memref.store %z, %p[%t] : memref<4xi32>",
            Kind::IntegerMultiply,
        ),
        (
            "%y = arith.muli %t, %t : index %z = arith.index_cast %y : index to i32 %w = arith.uitofp %z : i32 to f32 memref.store %w, %f[%t] : memref<4xf32>",
            Kind::IntegerMultiply,
        ),
    ] {
        let text = function(body);
        let report = audit::one(text.as_bytes()).unwrap();
        assert!(report.count(kind) >= 1, "{body}: {report}");
    }
    let clean = function(
        "%y = affine.apply affine_map<(d0) -> (d0 * 5 mod 4)>(%t) %z = memref.load %f[%y] : memref<4xf32> memref.store %z, %f[%t] : memref<4xf32>",
    );
    let report = audit::one(clean.as_bytes()).unwrap();
    assert!(report.is_multiplication_free(), "{report}");
    assert_eq!(report.address_multiplies(), 1);
}

#[test]
fn intrinsics_and_calls_of_llvm_are_classified() {
    for (body, declared, kind) in [
        ("%y = fmul float %x, %x", "", Kind::Multiply),
        (
            "%y = call float @llvm.fmuladd.f32(float %x, float %x, float %x)",
            "declare float @llvm.fmuladd.f32(float, float, float)",
            Kind::FusedMultiplyAdd,
        ),
        (
            "%y = call float @llvm.sqrt.f32(float %x)",
            "declare float @llvm.sqrt.f32(float)",
            Kind::SquareRoot,
        ),
        (
            "%y = call float @llvm.exp2.f32(float %x)",
            "declare float @llvm.exp2.f32(float)",
            Kind::Transcendental,
        ),
        (
            "%y = call float @llvm.ldexp.f32.i32(float %x, i32 3)",
            "declare float @llvm.ldexp.f32.i32(float, i32)",
            Kind::Multiply,
        ),
        ("%y = call float @expf(float %x)", "declare float @expf(float)", Kind::LibraryCall),
        (
            "%i = bitcast float %x to i32 %m = call i32 @llvm.smul.fix.i32(i32 %i, i32 %i, i32 4) %y = bitcast i32 %m to float",
            "declare i32 @llvm.smul.fix.i32(i32, i32, i32)",
            Kind::IntegerMultiply,
        ),
        (
            "%y = call float @elsewhere(float %x)",
            "declare float @elsewhere(float)",
            Kind::UnknownCall,
        ),
        (
            "%i = bitcast float %x to i32 %m = mul i32 %i, %i %y = bitcast i32 %m to float",
            "",
            Kind::IntegerMultiply,
        ),
        (
            "%q = alloca i32 %i = bitcast float %x to i32 %m = mul i32 %i, %i store i32 %m, ptr %q %l = load i32, ptr %q %y = bitcast i32 %l to float",
            "",
            Kind::IntegerMultiply,
        ),
    ] {
        let text = format!(
            "{declared}\ndefine void @k(ptr %p) {{\n%x = load float, ptr %p\n{body}\nstore float %y, ptr %p\nret void\n}}\n"
        );
        let report = audit::one(text.as_bytes()).unwrap();
        assert_eq!((report.findings.len(), report.count(kind)), (1, 1), "{body}: {report}");
    }
    let sum = "declare <4 x float> @llvm.vp.fadd.v4f32(<4 x float>, <4 x float>, <4 x i1>, i32)
        define void @k(ptr %p, <4 x i1> %m, i32 %n) {
        %x = load <4 x float>, ptr %p
        %y = call <4 x float> @llvm.vp.fadd.v4f32(<4 x float> %x, <4 x float> %x, <4 x i1> %m, i32 %n)
        store <4 x float> %y, ptr %p
        ret void }";
    let report = audit::one(sum.as_bytes()).unwrap();
    assert!(report.is_multiplication_free(), "{report}");
}

#[test]
fn what_cannot_be_read_is_no_pass() {
    assert!(audit::file(b"hello").is_err());
    assert!(audit::file(b"\x7fELF").is_err());
    let mut cubin = vec![0u8; 64];
    cubin[..4].copy_from_slice(b"\x7fELF");
    cubin[18] = 190;
    match audit::file(&cubin) {
        Ok(outcomes) => match &outcomes[0].1 {
            Outcome::Skipped(why) => assert!(why.contains("nvdisasm"), "{why}"),
            Outcome::Audited(report) => panic!("an empty cubin passed: {report}"),
        },
        Err(error) => assert!(error.to_string().contains("nvdisasm"), "{error}"),
    }
}
