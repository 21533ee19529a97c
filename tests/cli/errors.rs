//! Failures: a message that names the thing, an exit code, nothing half-written.

use std::process::Command;

use pamc::runtime::files::{read_npz, write_npz};
use pamc_passes::ir::Tensor;

use super::{Place, Ran, repository};

const SQUARE: &str = "graph @square(%x: f32[batch, 3]) -> f32[batch, 3] {
    %y = mul %x, %x
    return %y
}
";

const PICK: &str = "graph @pick(%i: i64[batch]) -> f32[batch] {
    %t = const {value = f32[3][1.0, 2.0, 3.0]}
    %y = gather %t, %i
    return %y
}
";

fn forward_model() -> Vec<u8> {
    let path = repository("models/onnx/mlp_adamw/forward.onnx");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn arrays(place: &Place, file: &str, name: &str, value: Tensor) {
    write_npz(&place.path(file), &[(name.to_string(), value)].into()).expect("written");
}

fn ones(shape: &[usize]) -> Tensor {
    Tensor::full(shape, 1f32)
}

#[test]
fn missing_files_are_named() {
    let place = Place::new();
    place.pamc("no_model.onnx --emit pam -o out.pam").failure(&["no_model.onnx"]);
    place.pamc("no_model.pam --emit pam -o out.pam").failure(&["no_model.pam"]);
    place.pamc("no_such_thing --emit pam").failure(&["no_such_thing", "@mlp"]);
    place.pamc("@no_such_model --emit pam").failure(&["no_such_model", "@mlp"]);
    place.pamc("train @mlp:tiny --data none.npz --save w.safetensors").failure(&["none.npz"]);
    place.pamc("run @mlp:tiny --input input=none.npy --output y.npz").failure(&["none.npy"]);
    arrays(&place, "x.npz", "input", ones(&[2, 4]));
    let run = "run @mlp:tiny --inputs x.npz --weights none.safetensors --output y.npz";
    place.pamc(run).failure(&["none.safetensors"]);
    assert_eq!(place.files(), ["x.npz"]);
}

#[test]
fn damaged_onnx_files_are_named() {
    let place = Place::new();
    let whole = forward_model();
    for length in [whole.len() / 2, whole.len() - 1, 100, 1] {
        place.write("cut.onnx", &whole[..length]);
        place.pamc("cut.onnx --dim batch=2 --emit pam -o out.pam").failure(&["cut.onnx"]);
    }
    place.write("text.onnx", "this is no protobuf at all, only some text");
    place.pamc("text.onnx --emit pam -o out.pam").failure(&["text.onnx"]);
    assert_eq!(place.files(), ["cut.onnx", "text.onnx"]);
}

#[test]
fn unsupported_operators_are_named_all_at_once() {
    let place = Place::new();
    let mut model = forward_model();
    // Field 4 of a node is its operator; a name of the same length leaves the protobuf whole.
    for (operator, other) in [(b"\x22\x04Relu", b"xx"), (b"\x22\x04Gemm", b"yy")] {
        let at = model.windows(6).position(|w| w == operator).expect("the model has both");
        model[at + 4..at + 6].copy_from_slice(other);
    }
    place.write("odd.onnx", &model);
    let ran = place.pamc("odd.onnx --dim batch=2 --dim batch_size=2 --emit pam -o out.pam");
    ran.failure(&["Rexx", "Geyy"]);
    assert_eq!(place.files(), ["odd.onnx"]);
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let place = Place::new();
    place.write("square.pam", SQUARE);
    arrays(&place, "wrong_name.npz", "z", ones(&[2, 3]));
    arrays(&place, "wrong_shape.npz", "x", ones(&[2, 5]));
    place.write("pick.pam", PICK);
    arrays(&place, "wrong_type.npz", "i", Tensor::full(&[2], 0.5f32));
    let run = |file: &str| place.pamc(&format!("run square.pam --inputs {file} --output y.npz"));
    run("wrong_name.npz").failure(&["z", "x"]);
    run("wrong_shape.npz").failure(&["'x'", "f32[2, 5]", "f32[2, 3]"]);
    let ran = place.pamc("run pick.pam --inputs wrong_type.npz --output y.npz");
    ran.failure(&["'i'", "f32[2]", "i64[2]"]);
    assert!(!place.path("y.npz").exists());
    arrays(&place, "right.npz", "x", Tensor::full(&[2, 3], 1.5f32));
    run("right.npz").success();
    let y = read_npz(&place.path("y.npz")).expect("written");
    assert!(y["y"].same_bits(&Tensor::full(&[2, 3], 2f32)));
}

#[test]
fn unbound_dimensions_are_named_all_at_once() {
    let place = Place::new();
    place.write("open.pam", SQUARE.replace("3]", "features]"));
    place.pamc("open.pam --emit pam -o out.pam").failure(&["batch", "features", "--dim"]);
    assert_eq!(place.files(), ["open.pam"]);
    place.pamc("open.pam --dim batch=2 --dim features=3 --emit pam -o out.pam").success();
}

#[test]
fn syntax_errors_have_line_and_column() {
    let place = Place::new();
    place.write("odd.pam", SQUARE.replace("mul", "multiply"));
    let ran = place.pamc("odd.pam --dim batch=1 --emit pam");
    ran.failure(&["odd.pam", "line 2, column 10", "multiply"]);
}

#[test]
fn training_data_that_does_not_fit_is_named() {
    let place = Place::new();
    place.samples("data.npz", "mlp:tiny", 6);
    let train = "train @mlp:tiny --save w.safetensors --batch-size";
    place.pamc(&format!("{train} 7 --data data.npz")).failure(&["7", "6", "data.npz"]);
    let mut data = read_npz(&place.path("data.npz")).expect("written");
    let labels = data.remove("labels").expect("labels");
    write_npz(&place.path("no_labels.npz"), &data).expect("written");
    place.pamc(&format!("{train} 2 --data no_labels.npz")).failure(&["no_labels.npz", "labels"]);
    data.insert("labels".into(), labels.reshaped(&[6]).expect("six").clone());
    data.insert("input".into(), ones(&[5, 3]));
    write_npz(&place.path("uneven.npz"), &data).expect("written");
    place.pamc(&format!("{train} 2 --data uneven.npz")).failure(&["uneven.npz", "5", "6"]);
    assert!(!place.path("w.safetensors").exists());
}

#[test]
fn a_loss_that_is_no_number_ends_the_run() {
    let place = Place::new();
    place.samples("data.npz", "mlp:tiny", 8);
    let mut data = read_npz(&place.path("data.npz")).expect("written");
    let shape = data["input"].shape().to_vec();
    data.insert("input".into(), Tensor::full(&shape, f32::NAN));
    write_npz(&place.path("nan.npz"), &data).expect("written");
    for device in ["cpu", "interpret"] {
        let train = format!("train @mlp:tiny --data nan.npz --batch-size 4 --device {device}");
        let ran = place.pamc(&format!("{train} --save w.safetensors"));
        ran.failure(&["the loss became NaN at step 1", "--lr"]);
    }
    assert_eq!(place.files(), ["data.npz", "nan.npz"]);
}

/// Run `pamc` in a shell after some commands of its own.
fn shell(place: &Place, script: &str) -> Ran {
    let mut command = Command::new("sh");
    command.current_dir(place.0.path()).env("PAMC", env!("CARGO_BIN_EXE_pamc"));
    Ran::new(command.args(["-c", script]).output().expect("a shell"))
}

/// Outputs of some kilobytes each, with the file that must not be left.
const WRITES: [(&str, &str); 4] = [
    ("run wide.pam --inputs wide.npz --output out/y.npz", "y.npz"),
    ("wide.pam --emit mlir -o out/wide.mlir", "wide.mlir"),
    ("@mlp:tiny --dim batch=2 --train --emit obj -o out/wide.o", "wide.o"),
    (
        "train @mlp --data data.npz --batch-size 2 --steps 1 --save out/w.safetensors",
        "w.safetensors",
    ),
];

fn prepare(place: &Place) {
    place.write("wide.pam", SQUARE.replace("batch", "3000"));
    // No two alike: an archive is compressed.
    let x = Tensor::from_vec(&[3000, 3], (0..9000).map(|i| (i as f32).sqrt()).collect());
    arrays(place, "wide.npz", "x", x.expect("as many"));
    place.samples("data.npz", "mlp", 4);
    std::fs::create_dir(place.path("out")).expect("a folder");
}

#[test]
fn a_write_that_is_cut_short_leaves_nothing() {
    let place = Place::new();
    prepare(&place);
    for (arguments, file) in WRITES {
        // One block of 512 bytes is all that a file may have; the signal that tells so is ignored.
        let ran = shell(&place, &format!("trap '' XFSZ; ulimit -f 1; \"$PAMC\" {arguments}"));
        ran.failure(&[file]);
        let left = std::fs::read_dir(place.path("out")).expect("the folder").count();
        assert_eq!(left, 0, "pamc {arguments} left something");
    }
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing() {
    let place = Place::new();
    prepare(&place);
    // A private file system of 4 KiB over the folder; only its own processes see it.
    let private = |script: &str| {
        let mount = "mount -t tmpfs -o size=4k none out";
        let inner = format!("{mount} && {{ {script} ; }}");
        shell(&place, &format!("unshare --mount --map-root-user sh -c '{inner}'"))
    };
    if private("true").code != Some(0) {
        println!("skipped: no private file system can be mounted here");
        return;
    }
    for (arguments, file) in WRITES {
        let ran = private(&format!("\"$PAMC\" {arguments}; code=$?; ls -A out; exit $code"));
        assert!(!ran.stdout.contains(file), "left: {}", ran.stdout);
        ran.failure(&[file, "No space left on device"]);
    }
}

#[test]
fn folders_that_are_not_there_are_named() {
    let place = Place::new();
    place.write("square.pam", SQUARE);
    arrays(&place, "x.npz", "x", ones(&[2, 3]));
    place.samples("data.npz", "mlp:tiny", 4);
    let run = "run square.pam --inputs x.npz --output none/y.npz";
    place.pamc(run).failure(&["none/y.npz"]);
    let train = "train @mlp:tiny --data data.npz --batch-size 2";
    place.pamc(&format!("{train} --save none/w.safetensors")).failure(&["none/w.safetensors"]);
    place.pamc(&format!("{train} --metrics none/m.jsonl")).failure(&["none/m.jsonl"]);
}

#[test]
fn nodes_that_are_not_there_are_answered_with_those_that_are() {
    let place = Place::new();
    place.pamc("explain @mlp:tiny --node attention").failure(&["attention", "fc1"]);
    let chain = place.pamc("explain @mlp:tiny --node fc1").success();
    assert!(chain.contains("matmul") && chain.contains("pam.matmul"), "{chain}");
}
