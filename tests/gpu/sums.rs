//! Sums that workgroups share out: rows that are few and long, places found in data.

use super::contractions::{Sort, check};

#[test]
fn long_rows_are_summed_in_the_order_of_their_lanes() {
    let text =
        "graph @f(%x: f32[3, 5000], %g: f32[5000], %b: f32[5000]) -> f32[3, 5000], f32[3], f32[3] {
        %p = softmax %x
        %n = layer_norm %p, %g, %b
        %m = reduce_max %x {axes = [1]}
        %s = sum %n {axes = [1]}
        return %n, %m, %s
    }";
    check("long rows", text, &[Sort::Plain, Sort::Special]);
}

#[test]
fn terms_of_a_place_are_added_in_order() {
    let text = "graph @f(%i: i64[2, 350], %u: f32[3, 2, 350, 300]) -> f32[3, 40, 300] {
        %y = scatter_add %i, %u {size = 40, axis = 1}
        return %y
    }";
    check("places", text, &[Sort::Plain, Sort::Special]);
}
