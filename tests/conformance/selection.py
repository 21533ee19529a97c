"""Copies a selection of ONNX's node tests, one of each kind of operator, into `selected/`.

    python selection.py FOLDER     # .../onnx/backend/test/data/node of the package onnx==1.20.1

`make conformance` installs the package under target/conformance.
"""

import shutil
import sys
from pathlib import Path

SELECTED = """
add_bcast add_uint8 affine_grid_2d argmax_no_keepdims_example_select_last_index
attention_4d_gqa_with_past_and_present averagepool_2d_ceil_last_window_starts_on_pad
basic_conv_with_padding batchnorm_example_training_mode bitshift_left_uint8
cast_FLOAT_to_FLOAT8E4M3FN center_crop_pad_crop_and_pad clip_default_inbounds col2im
compress_0 convtranspose_autopad_same cumsum_1d_exclusive dequantizelinear_axis
dynamicquantizelinear einsum_batch_diagonal gather_elements_1 gathernd_example_int32_batch_dim1
gelu_tanh_2 gridsample_bicubic_align_corners_0_additional_1 group_normalization_example
gru_seq_length if l2normalization_axis_1 layer_normalization_2d_axis1 logsoftmax_axis_1 loop11
lppool_2d_same_upper lrn lstm_with_peepholes maxpool_with_argmax_2d_precomputed_strides
maxunpool_export_without_output_shape mod_mixed_sign_int64 mvn
nllloss_NCd1d2_no_weight_reduction_mean_ii onehot_with_axis prelu_broadcast qlinearconv
quantizelinear_axis reduce_prod_do_not_keepdims_example reflect_pad
resize_downsample_scales_cubic_A_n0p5_exclude_outside resize_tf_crop_and_resize
resize_upsample_sizes_nearest_ceil_half_pixel reversesequence_batch rms_normalization_2d_axis1
roialign_mode_max rotary_embedding_interleaved scan9_sum
scatter_elements_with_reduction_max scatternd_multiply
sce_NCd1d2d3_sum_weight_high_ii_log_prob softmax_axis_0_expanded split_variable_parts_2d_opset18
top_k_smallest training_dropout_mask triu_neg tan where_example
""".split()


def main():
    source, target = Path(sys.argv[1]), Path(__file__).parent / "selected"
    shutil.rmtree(target, ignore_errors=True)
    missing = [name for name in SELECTED if not (source / f"test_{name}").is_dir()]
    if missing:
        sys.exit(f"{source} has no tests {', '.join(missing)}")
    for name in SELECTED:
        shutil.copytree(source / f"test_{name}", target / f"test_{name}")
    size = sum(f.stat().st_size for f in target.rglob("*") if f.is_file())
    print(f"{len(SELECTED)} tests, {size} bytes")


if __name__ == "__main__":
    main()
