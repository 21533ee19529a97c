//! Programs as ONNX, and trained weights back in their file.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use pamc_passes::arith::Arith;
use pamc_passes::interpret::{self, Values};
use pamc_passes::ir::{DType, InputKind, Tensor};
use pamc_passes::manager::Manager;
use pamc_passes::program::Program;
use prost::Message;

use super::fixture;
use crate::compile::{Settings, compile};
use crate::onnx::proto::{ModelProto, StringStringEntryProto};
use crate::onnx::{ExportError, ImportOptions, Imported, Model, export, with_weights};

fn import(model: &Model) -> Imported {
    let dims = HashMap::from([("batch".to_owned(), 2)]);
    model.import(&ImportOptions { dims, ..ImportOptions::default() }).unwrap()
}

fn program(imported: &Imported, arith: Arith) -> Program {
    let settings = Settings { arith, train: None, manager: Manager::default() };
    compile(imported.graph.clone(), &settings).unwrap().program
}

fn stored(imported: &Imported) -> BTreeMap<String, Tensor> {
    let all = imported.parameters.iter().chain(&imported.states);
    all.map(|p| (p.name.clone(), p.tensor.clone())).collect()
}

fn values(imported: &Imported) -> Values {
    let graph = &imported.graph;
    let data = graph.inputs().iter().filter(|i| i.kind == InputKind::Data);
    let ramp = data.map(|i| {
        let ty = graph.ty(i.node);
        assert_eq!(ty.dtype, DType::F32);
        // Among ordinary numbers, some that overflow, vanish or are none.
        let special = [f32::INFINITY, -0.0, 1e-40, f32::NAN, 3e38, -1e-30];
        let ramp = (0..ty.len()).map(|i| match i % 61 {
            k @ 0..6 if i > 300 => special[k],
            _ => ((i * 37 % 101) as f32 - 50.0) / 17.0,
        });
        (i.name.clone(), Tensor::from_vec(&ty.shape, ramp.collect()).unwrap())
    });
    ramp.chain(stored(imported)).collect()
}

#[test]
fn an_exported_program_computes_the_same_bits() {
    for set in ["mlp_mse", "cnn_bn", "patches"] {
        let original = import(&Model::load(&fixture(set, "forward.onnx")).unwrap());
        let pam = program(&original, Arith::PAM);
        let bytes = export(&pam, &stored(&original), "0").unwrap();
        let exported = Model::decode(bytes.into(), "exported.onnx".as_ref()).unwrap();
        let again = import(&exported);
        let given = values(&original);
        let wanted = interpret::run(&pam, &given).unwrap();
        let data = again
            .graph
            .inputs()
            .iter()
            .filter_map(|i| Some((i.name.clone(), given.get(&i.name)?.clone())));
        let made = interpret::run(&program(&again, Arith::PAM), &data.collect()).unwrap();
        for (name, value) in &wanted {
            let name = if original.graph.find_input(name).is_some() {
                format!("{name}.next")
            } else {
                name.clone()
            };
            assert!(made[&name].same_value(value), "{set} {name}");
        }
    }
}

#[test]
fn ordinary_arithmetic_is_not_exported() {
    let original = import(&Model::load(&fixture("mlp_mse", "forward.onnx")).unwrap());
    let made = export(&program(&original, Arith::Float), &BTreeMap::new(), "0");
    assert_eq!(made, Err(ExportError::Ordinary));
}

/// Moves the data of every initializer to `name` beside the model.
fn externalize(model: &mut ModelProto, name: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for t in &mut model.graph.as_mut().unwrap().initializer {
        let raw = t.raw_data.take().unwrap();
        let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
        t.external_data = vec![
            entry("location", name.into()),
            entry("offset", data.len().to_string()),
            entry("length", raw.len().to_string()),
        ];
        t.data_location = 1;
        data.extend(raw);
    }
    data
}

#[test]
fn weights_go_back_into_their_file() {
    let bytes = fs::read(fixture("mlp_mse", "forward.onnx")).unwrap();
    for external in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("model.onnx");
        let mut proto = ModelProto::decode(&bytes[..]).unwrap();
        let entry = StringStringEntryProto { key: "by".into(), value: "hand".into() };
        proto.metadata_props.push(entry);
        if external {
            let data = externalize(&mut proto, "weights.bin");
            fs::write(dir.path().join("weights.bin"), data).unwrap();
        }
        // A field of a later version, which pamc does not know.
        let mut written = proto.encode_to_vec();
        written.extend([0xfa, 0x3f, 3, b'n', b'e', b'w']);
        fs::write(&source, &written).unwrap();

        let mut weights = stored(&import(&Model::load(&source).unwrap()));
        let trained = Tensor::full(weights["fc1.bias"].shape(), 0.25f32);
        weights.insert("fc1.bias".into(), trained.clone());
        let to = dir.path().join("sub/trained.onnx");
        fs::create_dir(dir.path().join("sub")).unwrap();
        let saved = with_weights(&source, &weights, &to).unwrap();
        assert_eq!(saved.data.is_some(), external);
        assert!(saved.model.ends_with(b"new"));
        if let Some((name, data)) = &saved.data {
            fs::write(to.with_file_name(name), data).unwrap();
        }
        fs::write(&to, &saved.model).unwrap();
        let again = Model::load(&to).unwrap();
        for (name, value) in &weights {
            let found = again.initializers().iter().find(|t| t.name == *name).unwrap();
            assert!(found.tensor.same_bits(value), "{name}");
        }
        let mut after = ModelProto::decode(&saved.model[..]).unwrap();
        for model in [&mut proto, &mut after] {
            model.graph.as_mut().unwrap().initializer.clear();
        }
        assert_eq!(proto, after);
    }
}

#[test]
fn weights_of_other_shapes_or_names_are_refused() {
    let source = fixture("mlp_mse", "forward.onnx");
    let one = |name: &str, t: Tensor| {
        let weights = BTreeMap::from([(name.to_owned(), t)]);
        with_weights(&source, &weights, "x.onnx".as_ref()).map(|_| ()).unwrap_err().to_string()
    };
    assert!(one("fc1.bias", Tensor::full(&[3], 0f32)).contains("`fc1.bias`"));
    assert!(one("nothing", Tensor::full(&[3], 0f32)).contains("not among its initializers"));
}
