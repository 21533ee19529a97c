//! The flow of values through machine code, in assembly as compilers write it: what only makes
//! addresses passes, and the same code with the product among the data does not.

use pamc_lowering::audit::{self, Kind, Report};
use std::{
    io::Write,
    process::{Command, Stdio},
};

/// Audits functions in assembly, for AArch64 with all its extensions or for x86-64.
fn audit_of(triple: &str, text: &str) -> Report {
    let mut assembler = Command::new("/usr/lib/llvm-22/bin/llvm-mc")
        .args(["-triple", triple, "-filetype=obj"])
        .args(triple.starts_with("aarch64").then_some("-mattr=+all"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assembler.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = assembler.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    audit::object(&output.stdout).unwrap()
}

/// Functions by name: the first is exported, those after it only called here.
fn functions(list: &[(&str, &str)]) -> String {
    let function = |(i, (name, body)): (usize, &(&str, &str))| {
        let global = if i == 0 { format!(".globl {name}\n") } else { String::new() };
        format!("{global}.type {name},@function\n{name}:\n{body}\n.size {name}, .-{name}\n")
    };
    format!(".text\n{}", list.iter().enumerate().map(function).collect::<String>())
}

/// Code is clean with one line and has an integer multiply of data with another in its place.
fn told_apart(triple: &str, code: &[(&str, &str)], clean: &str, planted: &str) {
    let with = |line: &str| {
        let bodies: Vec<String> = code.iter().map(|(_, b)| b.replace("HERE", line)).collect();
        let list: Vec<(&str, &str)> =
            code.iter().zip(&bodies).map(|((name, _), body)| (*name, body.as_str())).collect();
        audit_of(triple, &functions(&list))
    };
    let report = with(clean);
    assert!(report.is_multiplication_free(), "{clean}: {report}");
    assert!(report.address_multiplies() > 0, "{clean}: {report}");
    let report = with(planted);
    assert_eq!(report.findings.len(), 1, "{planted}: {report}");
    assert_eq!(report.count(Kind::IntegerMultiply), 1, "{planted}: {report}");
}

const ARM: &str = "aarch64-linux-gnu";
const X86: &str = "x86_64-linux-gnu";

/// A pointer that is a product goes into a function that computes with its copies in vector
/// registers, which then hold data.
#[test]
fn vectors_of_addresses_leave_nothing_in_the_registers_they_were_in() {
    let caller = ("element", "umaddl x0, w2, w3, x0\nb pack");
    let pack = "
        ldr q2, [x1]
        dup v1.2d, x0
        sshll2 v0.2d, v2.4s, #2
        add v3.2d, v1.2d, v0.2d
        fmov x12, d3
        mov x13, v3.d[1]
        ldr s17, [x12]
        ld1 { v17.s }[1], [x13]
        HERE
        movi v0.4s, #0
        mov v19.16b, v17.16b
        bic v19.4s, #128, lsl #24
        zip1 v3.2d, v19.2d, v17.2d
        umin v0.4s, v0.4s, v3.4s
        umin v1.4s, v1.4s, v19.4s
        add v17.4s, v17.4s, v19.4s
        str q17, [x4], #32
        stp q0, q1, [x5]
        ret";
    let code = [caller, ("pack", pack)];
    told_apart(ARM, &code, "movi v1.2d, #0xffffffffffffffff", "nop");
    told_apart(ARM, &code, "sub v1.4s, v17.4s, v17.4s", "bic v1.4s, #128, lsl #24");
    told_apart(ARM, &code, "mov z1.s, p0/z, #1", "mov z1.s, p0/m, z17.s");
    told_apart(ARM, &code, "shrn v1.2s, v17.2d, #3", "shrn2 v1.4s, v17.2d, #3");
}

/// A function is given an object below a spilled product that makes an address, and reads an element of
/// it, or the whole of a register as large as both.
#[test]
fn an_element_that_is_repeated_is_no_larger() {
    let caller = "
        pushq %rbx
        subq $128, %rsp
        movq %rdi, %rbx
        imulq %rsi, %rdx
        movq %rdx, 48(%rsp)
        movq %rsp, %rdi
        movq %rbx, %rsi
        callq reader
        movq 48(%rsp), %rdx
        movl (%rbx,%rdx,4), %eax
        addq $128, %rsp
        popq %rbx
        retq";
    let reader = "
        vpxord %zmm0, %zmm0, %zmm0
        HERE
        vmovdqu64 %zmm0, (%rsi)
        retq";
    for clean in [
        "vpord 8(%rdi){1to16}, %zmm0, %zmm0",
        "vpbroadcastd 8(%rdi), %zmm0",
        "vpmovzxbd 8(%rdi), %zmm0",
    ] {
        told_apart(
            X86,
            &[("caller", caller), ("reader", reader)],
            clean,
            "vpord 8(%rdi), %zmm0, %zmm0",
        );
    }
}

/// Loads that move their base: what is loaded is no address, the base no data.
#[test]
fn a_load_that_moves_its_base_is_two_things() {
    let body = "
        umaddl x8, w2, w3, x0
        mov x9, #256
        ld1 { v0.s }[0], [x8], x9
        ld1 { v0.s }[1], [x8], x9
        ldr q1, [x8, #16]!
        ldp q2, q3, [x8], #32
        ldp x10, x8, [x8]
        add v0.4s, v0.4s, v1.4s
        add v0.4s, v2.4s, v3.4s
        HERE
        str q0, [x1], #16
        ret";
    told_apart(ARM, &[("load", body)], "str x8, [x1]", "umull x8, w2, w3\nstr x8, [x1]");
    let moved = body.replace("ldp x10, x8, [x8]", "");
    told_apart(ARM, &[("load", &moved)], "nop", "str x8, [x1]");
}

/// A product that makes an address is kept on the stack while its register is needed, among scalable
/// vectors.
#[test]
fn slots_are_found_again_among_scalable_vectors() {
    let body = "
        stp x29, x30, [sp, #-16]!
        addvl sp, sp, #-3
        sub sp, sp, #32
        umaddl x8, w2, w3, x0
        str x8, [sp, #16]
        str z8, [sp, #2, mul vl]
        str z9, [sp, #3, mul vl]
        ld1w { z8.s }, p0/z, [x1]
        st1w { z8.s }, p0, [x1, #1, mul vl]
        ldr z9, [sp, #3, mul vl]
        ldr z8, [sp, #2, mul vl]
        ldr x8, [sp, #16]
        HERE
        add sp, sp, #32
        addvl sp, sp, #3
        ldp x29, x30, [sp], #16
        ret";
    told_apart(ARM, &[("spill", body)], "ldr x9, [x8]\nstr x9, [x1]", "str x8, [x1]");
    told_apart(ARM, &[("spill", body)], "incw x8\nldr w9, [x8]", "incw x8\nstr w8, [x1]");
}

/// A function asks another for a number, through a pointer into its frame, which it reads itself.
#[test]
fn a_frame_is_seen_by_its_owner_as_others_left_it() {
    let owner = "
        pushq %rbx
        subq $16, %rsp
        movq %rsi, %rbx
        leaq 8(%rsp), %rsi
        callq give
        movl 8(%rsp), %eax
        imull %eax, %eax
        cmpl $77, %eax
        setg %cl
        movb %cl, (%rbx)
        addq $16, %rsp
        popq %rbx
        retq";
    let give = "HERE\nmovl %eax, (%rsi)\nretq";
    let code = [("owner", owner), ("give", give)];
    told_apart(X86, &code, "movl %edx, %eax", "movl (%rdi), %eax");
    let stored = owner.replace("setg %cl\n", "").replace("%cl", "%al");
    // A product that another function leaves there is stored already.
    let code = [("owner", &*stored), ("give", "HERE\nimull %edx, %eax\nmovl %eax, (%rsi)\nretq")];
    let list: Vec<(&str, String)> = code
        .iter()
        .map(|(name, body)| (*name, body.replace("HERE", "movl (%rdi), %eax")))
        .collect();
    let list: Vec<(&str, &str)> = list.iter().map(|(n, b)| (*n, b.as_str())).collect();
    let report = audit_of(X86, &functions(&list));
    let found: Vec<&str> = report.findings.iter().map(|f| f.function.as_str()).collect();
    assert_eq!(found, ["owner", "give"], "{report}");
    // The same of a function elsewhere, which may write what it likes.
    let elsewhere = owner
        .replace("leaq 8(%rsp), %rsi", "movq %rdi, %rsi\nmovl $4, %edx\nleaq 8(%rsp), %rdi")
        .replace("callq give", "callq memcpy");
    let report = audit_of(X86, &functions(&[("owner", &elsewhere)]));
    assert_eq!(report.count(Kind::IntegerMultiply), 1, "{report}");
    let own = elsewhere.replace("movl 8(%rsp), %eax", "movl %ebx, %eax");
    let report = audit_of(X86, &functions(&[("owner", &own)]));
    assert_eq!(report.count(Kind::IntegerMultiply), 0, "{report}");
    let owner = "
        sub sp, sp, #32
        stp x30, x19, [sp, #16]
        mov x19, x1
        add x1, sp, #8
        bl give
        ldr w8, [sp, #8]
        mul w8, w8, w8
        cmp w8, #77
        cset w9, gt
        strb w9, [x19]
        ldp x30, x19, [sp, #16]
        add sp, sp, #32
        ret";
    let give = "HERE\nstr w8, [x1]\nret";
    told_apart(ARM, &[("owner", owner), ("give", give)], "mov w8, w2", "ldr w8, [x0]");
}

/// What is written of a frame is no more than it is: an argument on the stack that nobody reads, an
/// array whose elements have computed addresses, a byte.
#[test]
fn slots_beside_an_array_stay_registers() {
    let caller = "
        subq $200, %rsp
        imulq $40, %rdx, %rax
        addq %rsi, %rax
        movq %rax, 24(%rsp)
        xorl %ecx, %ecx
        cmpq %r8, %r9
        setge 39(%rsp)
        leaq (%rsp,%rcx), %rsi
        addq $64, %rsi
        movq 24(%rsp), %rax
        HERE
        movq %rax, 8(%rsp)
        movq %rdi, (%rsp)
        callq with_two_more
        addq $200, %rsp
        retq";
    let callee = "
        movups (%rsi), %xmm0
        movq 8(%rsp), %rdx
        movups (%rdx), %xmm1
        addps %xmm1, %xmm0
        movups %xmm0, (%rdx)
        retq";
    let code = [("caller", caller), ("with_two_more", callee)];
    told_apart(X86, &code, "nop", "movq %rax, 64(%rsp)");
    told_apart(X86, &code, "movq %rax, 40(%rsp)\nmovq 40(%rsp), %rdx", "movq %rax, (%rdi)");
    // The same address, added up otherwise.
    let near = caller.replace(
        "leaq (%rsp,%rcx), %rsi\n        addq $64",
        "leaq 40(%rsp,%rcx), %rsi\n        addq $24",
    );
    told_apart(X86, &[("caller", &near), ("with_two_more", callee)], "nop", "movq %rax, 64(%rsp)");
}

/// An array in a frame begins where the index of a loop begins that reads it, not where its offset
/// points: below it are spilled registers.
#[test]
fn an_array_begins_where_its_index_does() {
    let block = "
        subq $152, %rsp
        imulq $6336, %rdx, %rax
        movq %rax, 32(%rsp)
        movups (%rsi), %xmm0
        movups %xmm0, 64(%rsp)
        movups %xmm0, 80(%rsp)
        FIRST
        xorl %eax, %eax
        1: movups 32(%rsp,%rcx), %xmm0
        movups %xmm0, (%rdi,%rcx,8)
        STEP
        incq %rax
        cmpq %rax, %r8
        jne 1b
        movq 32(%rsp), %rax
        movups (%rsi,%rax), %xmm0
        movups %xmm0, (%rdi)
        addq $152, %rsp
        retq";
    let count = |step: &str| block.replace("STEP", step);
    let (up, merged) = (count("addq $16, %rcx"), count("leaq 16(%r10,%rcx), %rcx"));
    let first = |body: &str| body.replace("FIRST", "HERE");
    let begins = "movl $32, %ecx";
    for planted in [
        "xorl %ecx, %ecx",
        "movq %r9, %rcx",
        "movl $32, %ecx\nmovq %rax, 64(%rsp)",
        "movl $32, %ecx\ntestq %r9, %r9\nje 2f\nxorl %ecx, %ecx\n2:",
    ] {
        told_apart(X86, &[("block", &first(&up))], begins, planted);
    }
    // Through another register and a sum; a sum with what may be less than zero is not known.
    let known = "movl $32, %r10d\nmovq %r10, %rcx";
    told_apart(X86, &[("block", &first(&merged))], known, "movl $32, %ecx\nmovq %r9, %r10");
    // An index that counts down, or that a function called has left.
    for step in ["addq $-16, %rcx", "subq %r9, %rcx", "movq %r9, %rcx"] {
        let body = count("HERE\naddq $16, %rcx").replace("FIRST", begins);
        told_apart(X86, &[("block", &body)], "nop", step);
    }
    let called = first(&up).replace("HERE", "movl $32, %eax\nHERE\nmovq %rax, %rcx");
    let code = [("block", called.as_str()), ("least", "xorl %eax, %eax\nretq")];
    told_apart(X86, &code, "nop", "callq least");
    // The address added up before the access, which is not where the access is.
    let element = first(&up).replace(
        "movups 32(%rsp,%rcx), %xmm0",
        "leaq 64(%rsp,%rcx), %r11\nmovups -32(%r11), %xmm0",
    );
    let element = [("block", element.as_str())];
    told_apart(X86, &element, begins, "movl $32, %ecx\nmovq %rax, 64(%rsp)");
}

/// The same on AArch64.
#[test]
fn an_array_begins_where_its_index_does_on_arm() {
    let block = "
        sub sp, sp, #160
        mov w9, #6336
        mul x10, x2, x9
        str x10, [sp, #32]
        ldr q0, [x1]
        stp q0, q0, [sp, #64]
        HERE
        add x12, sp, #32
        1: ldr q0, [x12, x11]
        str q0, [x0], #16
        add x11, x11, #16
        cmp x11, #64
        b.ne 1b
        ldr x10, [sp, #32]
        ldr q0, [x1, x10]
        str q0, [x0]
        add sp, sp, #160
        ret";
    told_apart(ARM, &[("block", block)], "mov x11, #32", "mov x11, #0");
    told_apart(ARM, &[("block", block)], "mov w11, #32", "mov x11, x3");
    told_apart(ARM, &[("block", block)], "mov x11, #32", "mov x11, #32\nstr x10, [sp, #64]");
}

/// A thread's part of a loop is no data, though a register that held a pointer to it has lost but its
/// lowest byte when another function is called.
#[test]
fn what_a_byte_is_written_into_is_no_address() {
    let outlined = "
        subq $40, %rsp
        leaq 32(%rsp), %rax
        leaq 12(%rsp), %rcx
        leaq 24(%rsp), %r8
        leaq 16(%rsp), %r9
        movl $34, %edx
        pushq $0
        pushq $1
        pushq %rax
        pushq %rax
        callq __kmpc_for_static_init_8u
        addq $32, %rsp
        HERE
        leaq 32(%rsp), %rax
        callq element
        addq $40, %rsp
        retq";
    let element = "
        cmpq $3, %rcx
        setle %al
        movb %al, (%rsi)
        imulq $40, %rcx, %rdx
        cmpq $4000, %rdx
        jg 1f
        incl (%rsi)
        1: retq";
    let code = [("outlined", outlined), ("element", element)];
    told_apart(X86, &code, "movq 16(%rsp), %rcx", "movq (%rdi), %rcx");
}

/// One instruction on data in a function that is otherwise clean.
fn single(triple: &str, instruction: &str) -> Report {
    audit_of(triple, &functions(&[("f", &format!("{instruction}\nret"))]))
}

fn found(triple: &str, instruction: &str, kind: Kind) {
    let report = single(triple, instruction);
    assert_eq!(report.findings.len(), 1, "{instruction}: {report}");
    assert_eq!(report.count(kind), 1, "{instruction}: {report}");
}

#[test]
fn every_multiplying_instruction_of_processors_is_found() {
    use Kind::*;
    for (instruction, kind) in [
        ("mulss %xmm1, %xmm0", Multiply),
        ("vmulpd %ymm1, %ymm2, %ymm0", Multiply),
        ("vmulph %zmm1, %zmm2, %zmm0", Multiply),
        ("vmulbf16 %zmm1, %zmm2, %zmm0", Multiply),
        ("vfmulcph %zmm1, %zmm2, %zmm3", Multiply),
        ("vscalefps %zmm1, %zmm2, %zmm0", Multiply),
        ("fmuls (%rdi)", Multiply),
        ("fmulp", Multiply),
        ("fimull (%rdi)", Multiply),
        ("divps %xmm1, %xmm0", Divide),
        ("vdivsh %xmm1, %xmm2, %xmm0", Divide),
        ("fdivrs (%rdi)", Divide),
        ("fprem", Divide),
        ("fprem1", Divide),
        ("vfmadd213ps %ymm1, %ymm2, %ymm0", FusedMultiplyAdd),
        ("vfnmsub231sd %xmm1, %xmm2, %xmm0", FusedMultiplyAdd),
        ("vfmaddsub132ps %ymm1, %ymm2, %ymm0", FusedMultiplyAdd),
        ("vfmaddps %xmm1, %xmm2, %xmm3, %xmm0", FusedMultiplyAdd),
        ("sqrtss %xmm1, %xmm0", SquareRoot),
        ("fsqrt", SquareRoot),
        ("rcpps %xmm1, %xmm0", Approximation),
        ("vrsqrt14ps %zmm1, %zmm0", Approximation),
        ("vrcpph %zmm1, %zmm0", Approximation),
        ("vrcpbf16 %zmm1, %zmm0", Approximation),
        ("f2xm1", Transcendental),
        ("fyl2x", Transcendental),
        ("fyl2xp1", Transcendental),
        ("fsin", Transcendental),
        ("fsincos", Transcendental),
        ("fpatan", Transcendental),
        ("dpps $255, %xmm1, %xmm0", DotProduct),
        ("vdpbf16ps %zmm1, %zmm2, %zmm0", DotProduct),
        ("vdpphps %zmm1, %zmm2, %zmm0", DotProduct),
        ("vpdpbusd %ymm1, %ymm2, %ymm0", DotProduct),
        ("vpdpwuud %ymm1, %ymm2, %ymm0", DotProduct),
        ("tdpbf16ps %tmm1, %tmm2, %tmm3", DotProduct),
        ("pmulld %xmm1, %xmm0", VectorIntegerMultiply),
        ("vpmaddwd %ymm1, %ymm2, %ymm0", VectorIntegerMultiply),
        ("vpmadd52luq %ymm1, %ymm2, %ymm0", VectorIntegerMultiply),
        ("pclmulqdq $0, %xmm1, %xmm0", VectorIntegerMultiply),
        ("gf2p8mulb %xmm1, %xmm0", VectorIntegerMultiply),
        ("mpsadbw $0, %xmm1, %xmm0\nmulpd %xmm0, %xmm0", Multiply),
        ("movl (%rdi), %eax\nimull %eax, %eax\nmovl %eax, (%rdi)", IntegerMultiply),
        ("movl (%rdi), %eax\nmulw 2(%rdi)\nmovw %ax, (%rdi)", IntegerMultiply),
        ("movl (%rdi), %eax\ncltd\nidivl 4(%rdi)\nmovl %edx, (%rdi)", IntegerMultiply),
        ("movl (%rdi), %edx\nmulxl %edx, %eax, %ecx\nmovl %ecx, (%rdi)", IntegerMultiply),
        ("callq expf", LibraryCall),
        ("callq fmodf@PLT", LibraryCall),
        ("callq ldexp@PLT", LibraryCall),
        ("callq cblas_sgemm@PLT", UnknownCall),
        ("jmp tanhf@PLT", LibraryCall),
        ("callq *%rax", UnknownCall),
    ] {
        found(X86, instruction, kind);
    }
    for (instruction, kind) in [
        ("fmul s0, s1, s2", Multiply),
        ("fmul v0.8h, v1.8h, v2.h[1]", Multiply),
        ("fmulx d0, d1, d2", Multiply),
        ("fnmul d0, d1, d2", Multiply),
        ("fmul z0.s, p0/m, z0.s, z1.s", Multiply),
        ("fscale z0.s, p0/m, z0.s, z1.s", Multiply),
        ("fdiv v0.4s, v1.4s, v2.4s", Divide),
        ("fdivr z0.s, p0/m, z0.s, z1.s", Divide),
        ("fmadd s0, s1, s2, s3", FusedMultiplyAdd),
        ("fmla v0.4s, v1.4s, v2.s[0]", FusedMultiplyAdd),
        ("fnmsb z0.s, p0/m, z1.s, z2.s", FusedMultiplyAdd),
        ("fmlal v0.4s, v1.4h, v2.4h", FusedMultiplyAdd),
        ("fsqrt v0.4s, v1.4s", SquareRoot),
        ("frecpe s0, s1", Approximation),
        ("frecps v0.4s, v1.4s, v2.4s", Approximation),
        ("frsqrte z0.s, z1.s", Approximation),
        ("fexpa z0.s, z1.s", Approximation),
        ("udot v0.4s, v1.16b, v2.16b", DotProduct),
        ("sdot z0.s, z1.b, z2.b", DotProduct),
        ("bfdot v0.4s, v1.8h, v2.8h", DotProduct),
        ("bfmmla v0.4s, v1.8h, v2.8h", DotProduct),
        ("usmmla v0.4s, v1.16b, v2.16b", DotProduct),
        ("mul v0.4s, v1.4s, v2.4s", VectorIntegerMultiply),
        ("mul z0.s, p0/m, z0.s, z1.s", VectorIntegerMultiply),
        ("mla v0.4s, v1.4s, v2.4s", VectorIntegerMultiply),
        ("smull v0.4s, v1.4h, v2.4h", VectorIntegerMultiply),
        ("umlal2 v0.4s, v1.8h, v2.8h", VectorIntegerMultiply),
        ("smulh z0.s, p0/m, z0.s, z1.s", VectorIntegerMultiply),
        ("sqdmulh v0.4s, v1.4s, v2.4s", VectorIntegerMultiply),
        ("pmull v0.8h, v1.8b, v2.8b", VectorIntegerMultiply),
        ("udiv z0.s, p0/m, z0.s, z1.s", VectorIntegerMultiply),
        ("sdivr z0.s, p0/m, z0.s, z1.s", VectorIntegerMultiply),
        ("ldr w8, [x0]\nmul w8, w8, w8\nstr w8, [x0]", IntegerMultiply),
        ("ldr w8, [x0]\nsmull x8, w8, w8\nstr x8, [x0]", IntegerMultiply),
        ("ldr x8, [x0]\numulh x8, x8, x8\nstr x8, [x0]", IntegerMultiply),
        ("ldr w8, [x0]\nudiv w8, w8, w1\nstr w8, [x0]", IntegerMultiply),
        ("ldr w8, [x0]\nmsub w8, w8, w8, w1\nscvtf s0, w8", IntegerMultiply),
        ("bl expf", LibraryCall),
        ("b fmod", LibraryCall),
        ("bl elsewhere", UnknownCall),
        ("blr x8", UnknownCall),
    ] {
        found(ARM, instruction, kind);
    }
}

#[test]
fn sums_shifts_and_addresses_of_processors_are_clean() {
    for instruction in [
        "leaq (%rdi,%rsi,8), %rax\nmovq %rax, (%rdi)",
        "movl (%rdi), %eax\nshll $3, %eax\nmovl %eax, (%rdi)",
        "vpsllvd %ymm1, %ymm2, %ymm0\nvmovups %ymm0, (%rdi)",
        "vpmultishiftqb %zmm1, %zmm2, %zmm0",
        "vpermilps $27, %ymm1, %ymm0",
        "imulq $40, %rsi, %rax\nmovups (%rdi,%rax), %xmm0\nmovups %xmm0, (%rdx)",
        "fadds (%rdi)",
    ] {
        let report = single(X86, instruction);
        assert!(report.is_multiplication_free(), "{instruction}: {report}");
    }
    for instruction in [
        "add x8, x0, x1, lsl #3\nstr x8, [x0]",
        "shl v0.4s, v1.4s, #3\nstr q0, [x0]",
        "fmaxnm v0.4s, v1.4s, v2.4s\nstr q0, [x0]",
        "mov w9, #40\numaddl x8, w1, w9, x0\nldr q0, [x8]\nstr q0, [x2]",
        "ld1w { z0.s }, p0/z, [x0, #1, mul vl]\nstr z0, [x1, #1, mul vl]",
    ] {
        let report = single(ARM, instruction);
        assert!(report.is_multiplication_free(), "{instruction}: {report}");
    }
}
