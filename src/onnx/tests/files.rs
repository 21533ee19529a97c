//! The fixtures in `models/onnx`, whole, cut short and damaged.

use std::fs;
use std::path::Path;

use pamc_passes::ir::{Element, Tensor};
use proptest::prelude::*;
use prost::Message;

use super::{SETS, fixture};
use crate::onnx::checkpoint::*;
use crate::onnx::proto::{
    DataType, ModelProto, SparseTensorProto, StringStringEntryProto, TensorProto,
};
use crate::onnx::tensor;
use crate::onnx::{Model, OnnxError, TensorError};

#[test]
fn checkpoint_equals_forward_initializers() {
    for set in SETS {
        let checkpoint = Checkpoint::load(&fixture(set, "checkpoint")).unwrap();
        let forward = Model::load(&fixture(set, "forward.onnx")).unwrap();
        let (initializers, converted) = (forward.initializers(), forward.converted());
        assert!(converted.is_empty());
        assert!(!checkpoint.trainable.is_empty());
        assert_eq!(checkpoint.parameters().count(), initializers.len(), "{set}");
        for parameter in checkpoint.parameters() {
            let same = initializers.iter().find(|t| t.name == parameter.name);
            assert_eq!(Some(parameter), same);
        }
    }
}

#[test]
fn frozen_parameters_are_told_apart() {
    let checkpoint = Checkpoint::load(&fixture("lm_tiny", "checkpoint")).unwrap();
    let frozen: Vec<_> = checkpoint.frozen.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(frozen, ["mask", "pos"]);
}

#[test]
fn checkpoint_round_trips_with_optimizer_state() {
    let mut checkpoint = Checkpoint::load(&fixture("mlp_adamw", "checkpoint")).unwrap();
    let moment = |name: &str| NamedTensor {
        name: name.to_owned(),
        tensor: Tensor::from_vec(&[2, 1], vec![0.5f32, -0.0]).unwrap(),
    };
    checkpoint.optimizer_groups.push(OptimizerGroup {
        name: "group0".to_owned(),
        step: 7,
        initial_learning_rate: 1e-3,
        states: vec![ParameterState {
            parameter: "fc1.weight".to_owned(),
            moments: vec![moment("momentum0"), moment("momentum1")],
        }],
    });
    checkpoint.properties = vec![
        ("epoch".to_owned(), Property::Int(3)),
        ("best".to_owned(), Property::Float(0.25)),
        ("note".to_owned(), Property::Text("grün".to_owned())),
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    checkpoint.save(&path).unwrap();
    assert_eq!(Checkpoint::load(&path).unwrap(), checkpoint);
}

#[test]
fn errors_name_the_file() {
    let missing = Model::load(Path::new("no/such.onnx")).unwrap_err();
    assert!(missing.to_string().starts_with("no/such.onnx: "), "{missing}");
    let other = Model::decode((&b"PK\x03\x04 not protobuf"[..]).into(), Path::new("a.zip"));
    assert!(matches!(other, Err(OnnxError::Decode { .. })));
    let bytes = fs::read(fixture("mlp_adamw", "forward.onnx")).unwrap();
    let cut = Checkpoint::decode(&bytes, Path::new("c")).unwrap_err();
    assert!(cut.to_string().contains("ODTC"), "{cut}");
}

#[test]
fn truncated_files_are_errors() {
    let model = fs::read(fixture("mlp_adamw", "forward.onnx")).unwrap();
    let checkpoint = fs::read(fixture("mlp_adamw", "checkpoint")).unwrap();
    // A prefix that ends between two fields of the model itself is still protobuf; the weights
    // are in the graph, so everything up to its end must fail.
    let graph_end = model.len() - 64;
    for len in (0..graph_end).step_by(4099).chain([graph_end]) {
        let cut = Model::decode(model[..len].to_vec().into(), Path::new("m"));
        assert!(matches!(cut, Err(OnnxError::Decode { .. })), "{len}");
    }
    for len in (0..checkpoint.len()).step_by(4099).chain([checkpoint.len() - 8]) {
        let cut = Checkpoint::decode(&checkpoint[..len], Path::new("c"));
        assert!(matches!(cut, Err(OnnxError::Checkpoint { .. })), "{len}");
    }
}

fn mutate(mut bytes: Vec<u8>, changes: &[(usize, u8)]) -> Vec<u8> {
    for &(at, bits) in changes {
        let at = at % bytes.len();
        bytes[at] ^= bits;
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((any::<usize>(), 1u8..), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_models_do_not_panic(changes in changes(), file in 0..3usize, keep in 1..4usize) {
        let file = ["training_model.onnx", "eval_model.onnx", "optimizer_model.onnx"][file];
        let bytes = fs::read(fixture("mlp_adamw", file)).unwrap();
        let keep = bytes.len() * keep / 3;
        let bytes = mutate(bytes[..keep].to_vec(), &changes);
        if let Ok(model) = Model::decode(bytes.into(), Path::new("m")) {
            assert!(model.initializers().len() < 100);
        }
    }

    #[test]
    fn damaged_checkpoints_do_not_panic(changes in changes(), head in any::<bool>()) {
        let mut bytes = small_checkpoint();
        if head {
            bytes.truncate(bytes.len() / 2);
        }
        let _ = Checkpoint::decode(&mutate(bytes, &changes), Path::new("c"));
    }
}

fn small_checkpoint() -> Vec<u8> {
    let checkpoint = Checkpoint::load(&fixture("mlp_adamw", "checkpoint")).unwrap();
    let small = |t: &NamedTensor| t.tensor.len() < 200;
    let trainable = checkpoint.trainable.into_iter().filter(small).collect();
    let properties = vec![("epoch".to_owned(), Property::Int(3))];
    Checkpoint { trainable, properties, ..Checkpoint::default() }.encode(Path::new("c")).unwrap()
}

fn list<T: Element>(values: &[T]) -> Tensor {
    Tensor::from_vec(&[values.len()], values.to_vec()).unwrap()
}

fn tensor(dtype: DataType, dims: &[i64], raw: &[u8]) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        data_type: dtype as i32,
        raw_data: Some(raw.to_vec().into()),
        ..TensorProto::default()
    }
}

#[test]
fn element_types_convert() {
    use DataType as D;
    let f32s = |v: &[f32]| list(v);
    let cases = [
        (D::Float16, 2, &[0x00, 0x3c, 0x00, 0xc0][..], f32s(&[1.0, -2.0]), Some("float16")),
        (D::Bfloat16, 1, &[0x80, 0x3f], f32s(&[1.0]), Some("bfloat16")),
        (D::Double, 1, &1.5f64.to_le_bytes(), f32s(&[1.5]), Some("double")),
        (D::Int8, 2, &[0xff, 0x7f], list::<i32>(&[-1, 127]), None),
        (D::Uint16, 1, &[0xff, 0xff], list::<i32>(&[65535]), None),
        (D::Int4, 3, &[0xf1, 0x08], list::<i32>(&[1, -1, -8]), None),
        (D::Uint2, 3, &[0b11_10_01], list::<i32>(&[1, 2, 3]), None),
        (D::Uint32, 1, &[0xff; 4], list(&[i64::from(u32::MAX)]), None),
        (D::Bool, 2, &[0, 2], list(&[false, true]), None),
    ];
    for (dtype, n, raw, data, from) in cases {
        let decoded = tensor::decode(&tensor(dtype, &[n], raw), None).unwrap();
        assert!(decoded.tensor.same_bits(&data), "{dtype:?}: {:?}", decoded.tensor);
        assert_eq!(decoded.converted_from, from, "{dtype:?}");
    }
    let typed = TensorProto {
        dims: vec![1],
        data_type: D::Float16 as i32,
        int32_data: vec![0x3c00],
        ..TensorProto::default()
    };
    assert!(tensor::decode(&typed, None).unwrap().tensor.same_bits(&f32s(&[1.0])));
}

#[test]
fn impossible_tensors_are_errors_before_memory_is_taken() {
    let huge = [i64::MAX, i64::MAX];
    for (t, want) in [
        (tensor(DataType::Float, &huge, &[]), "impossible shape"),
        (tensor(DataType::Float, &[i64::MAX, 0, 9], &[]), "impossible shape"),
        (tensor(DataType::Float, &[-1], &[]), "impossible shape"),
        (tensor(DataType::Float, &[1 << 40], &[0; 8]), "the file holds 8"),
        (tensor(DataType::String, &[1], &[0]), "string is not supported"),
        (tensor(DataType::Uint64, &[1], &[0xff; 8]), "does not fit"),
    ] {
        let message = tensor::decode(&t, None).err().unwrap().to_string();
        assert!(message.contains(want), "{message}");
    }
}

#[test]
fn sparse_tensors_are_written_out() {
    let sparse = |indices: &[i64], shape: &[i64]| SparseTensorProto {
        values: Some(tensor(DataType::Int32, &[2], &[5, 0, 0, 0, 6, 0, 0, 0])),
        indices: Some(TensorProto {
            dims: shape.to_vec(),
            data_type: DataType::Int64 as i32,
            int64_data: indices.to_vec(),
            ..TensorProto::default()
        }),
        dims: vec![2, 3],
    };
    let dense = Tensor::from_vec(&[2, 3], vec![0, 5, 0, 0, 0, 6]).unwrap();
    for s in [sparse(&[1, 5], &[2]), sparse(&[0, 1, 1, 2], &[2, 2])] {
        assert!(tensor::densify(&s, None).unwrap().tensor.same_bits(&dense));
    }
    for s in [sparse(&[1, 6], &[2]), sparse(&[0, -1, 1, 2], &[2, 2]), sparse(&[1], &[1])] {
        assert!(matches!(tensor::densify(&s, None).err(), Some(TensorError::Sparse(_))));
    }
}

#[test]
fn external_data_stays_in_the_models_folder() {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("model");
    fs::create_dir(&inside).unwrap();
    fs::write(dir.path().join("secret"), [0; 64]).unwrap();
    fs::write(inside.join("w.bin"), [[0u8; 4], 2.5f32.to_le_bytes()].concat()).unwrap();
    std::os::unix::fs::symlink(dir.path().join("secret"), inside.join("link")).unwrap();
    let read = |entries: &[(&str, &str)]| {
        let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let external_data = entries.iter().map(entry).collect();
        let t = TensorProto {
            dims: vec![1],
            data_type: DataType::Float as i32,
            data_location: 1,
            external_data,
            ..TensorProto::default()
        };
        tensor::decode(&t, Some(&inside)).map(|d| d.tensor)
    };
    let good = read(&[("location", "w.bin"), ("offset", "4"), ("length", "4")]).unwrap();
    assert!(good.same_bits(&list(&[2.5f32])));
    let absolute = dir.path().join("secret");
    for location in ["../secret", absolute.to_str().unwrap(), "link", "", "x/../../secret"] {
        let error = read(&[("location", location)]).unwrap_err();
        assert!(matches!(error, TensorError::External(_)), "{location}: {error}");
    }
    for entries in [&[("location", "w.bin"), ("offset", "5")][..], &[("location", "gone")]] {
        assert!(read(entries).is_err());
    }
    assert!(read(&[("location", "w.bin"), ("offset", "18446744073709551615")]).is_err());
}

#[test]
fn a_checkpoints_second_file_stays_in_its_folder() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let checkpoint = Checkpoint::load(&corpus.join("checkpoint")).unwrap();
    let [w, b] = &checkpoint.trainable[..] else { panic!("{checkpoint:?}") };
    assert_eq!((w.tensor.shape(), b.name.as_str()), (&[4, 4][..], "b"));
    assert!(b.tensor.same_bits(&list(&[18.0f32, 19.0, 20.0, 21.0])));
    assert_eq!(checkpoint.properties, [("epoch".to_owned(), Property::Int(3))]);
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("checkpoint");
    fs::copy(corpus.join("checkpoint"), &copy).unwrap();
    std::os::unix::fs::symlink(corpus.join("checkpoint.data"), dir.path().join("checkpoint.data"))
        .unwrap();
    let error = Checkpoint::load(&copy).unwrap_err().to_string();
    assert!(error.contains("leads out of the model's folder"), "{error}");
}

#[test]
fn deep_nesting_is_an_error_not_a_stack_overflow() {
    let mut bytes = Vec::new();
    for _ in 0..10_000 {
        // Field 6 of AttributeProto within field 5 of NodeProto within field 1 of GraphProto.
        for tag in [6u8, 5, 1] {
            let mut outer = vec![tag << 3 | 2];
            prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
            outer.append(&mut bytes);
            bytes = outer;
        }
        if bytes.len() > 20_000 {
            break;
        }
    }
    let mut model = vec![7 << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut model);
    model.append(&mut bytes);
    let error = ModelProto::decode(&model[..]).unwrap_err();
    assert!(error.to_string().contains("recursion"), "{error}");
}
