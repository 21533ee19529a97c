//! Devices from the command line: what is there, and what is said of what is not.

use std::collections::BTreeSet;

use super::Place;

#[test]
fn devices_are_listed_with_what_keeps_the_others_away() {
    let place = Place::new();
    let text = place.pamc("devices").success();
    assert!(text.starts_with("device") && text.contains("\ncpu "), "{text}");
    let json = place.pamc("devices --json").success();
    let rows: Vec<serde_json::Value> = serde_json::from_str(&json).expect("JSON");
    let kind = |row: &serde_json::Value| {
        let name = row["device"].as_str().expect("a name").to_string();
        name.split(':').next().unwrap_or_default().to_string()
    };
    let kinds: BTreeSet<_> = rows.iter().map(kind).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["cpu", "cuda", "vulkan"]);
    for row in &rows {
        let named = row["name"].as_str().is_some_and(|n| !n.is_empty());
        assert!(named || row["unfit"].is_string(), "no name and no reason: {row}");
    }
}

#[test]
fn devices_that_are_not_there_are_explained() {
    let place = Place::new();
    place.samples("data.npz", "mlp:tiny", 8);
    let train = "train @mlp:tiny --data data.npz --batch-size 4 --steps 1 --save w.safetensors";
    let ran = place.pamc(&format!("{train} --device vulkan:1000"));
    ran.failure(&["vulkan"]);
    place.pamc(&format!("{train} --device cuda:1000")).failure(&["cuda"]);
    assert_eq!(place.files(), ["data.npz"]);
    let ran = place.pamc(&format!("{train} --device gpu"));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("vulkan:N"), "{}", ran.stderr);
}

#[test]
fn a_vulkan_device_gives_the_same_bits() {
    if crate::gpu::device().is_none() {
        return;
    }
    let place = Place::new();
    place.samples("data.npz", "mlp:tiny", 8);
    let data =
        "--data data.npz --eval data.npz --batch-size 4 --steps 3 --save-every 2 --eval-every 2";
    for device in ["cpu", "vulkan"] {
        let save = format!("--save {device}.safetensors --device {device}");
        place.pamc(&format!("train @mlp:tiny {data} {save}")).success();
        let run =
            format!("run @mlp:tiny --inputs x.npz --weights cpu.safetensors --device {device}");
        let mut arrays = pamc::runtime::files::read_npz(&place.path("data.npz")).expect("written");
        arrays.remove("labels");
        pamc::runtime::files::write_npz(&place.path("x.npz"), &arrays).expect("written");
        place.pamc(&format!("{run} --output {device}.npz")).success();
    }
    let bytes = |name: &str| std::fs::read(place.path(name)).expect("written");
    assert_eq!(bytes("cpu.safetensors"), bytes("vulkan.safetensors"));
    let read = |name: &str| pamc::runtime::files::read_npz(&place.path(name)).expect("written");
    let (cpu, vulkan) = (read("cpu.npz"), read("vulkan.npz"));
    assert!(cpu["logits"].same_value(&vulkan["logits"]) && cpu.len() == vulkan.len());
}
