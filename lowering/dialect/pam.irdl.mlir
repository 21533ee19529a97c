// Elementwise piecewise affine operations on floats, or vectors or tensors of them.
// Made from the op table (`pamc ops pam.` documents them); a test compares.
irdl.dialect @pam {
  irdl.operation @mul {
    %f32 = irdl.is f32
    %f16 = irdl.is f16
    %bf16 = irdl.is bf16
    %vector = irdl.base "!builtin.vector"
    %tensor = irdl.base "!builtin.tensor"
    %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)
    irdl.operands(a: %type, b: %type)
    irdl.results(result: %type)
  }
  irdl.operation @div {
    %f32 = irdl.is f32
    %f16 = irdl.is f16
    %bf16 = irdl.is bf16
    %vector = irdl.base "!builtin.vector"
    %tensor = irdl.base "!builtin.tensor"
    %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)
    irdl.operands(a: %type, b: %type)
    irdl.results(result: %type)
  }
  irdl.operation @exp2 {
    %f32 = irdl.is f32
    %f16 = irdl.is f16
    %bf16 = irdl.is bf16
    %vector = irdl.base "!builtin.vector"
    %tensor = irdl.base "!builtin.tensor"
    %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)
    irdl.operands(x: %type)
    irdl.results(result: %type)
  }
  irdl.operation @log2 {
    %f32 = irdl.is f32
    %f16 = irdl.is f16
    %bf16 = irdl.is bf16
    %vector = irdl.base "!builtin.vector"
    %tensor = irdl.base "!builtin.tensor"
    %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)
    irdl.operands(x: %type)
    irdl.results(result: %type)
  }
  irdl.operation @sqrt {
    %f32 = irdl.is f32
    %f16 = irdl.is f16
    %bf16 = irdl.is bf16
    %vector = irdl.base "!builtin.vector"
    %tensor = irdl.base "!builtin.tensor"
    %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)
    irdl.operands(x: %type)
    irdl.results(result: %type)
  }
  irdl.operation @scale2 {
    %f32 = irdl.is f32
    %f16 = irdl.is f16
    %bf16 = irdl.is bf16
    %vector = irdl.base "!builtin.vector"
    %tensor = irdl.base "!builtin.tensor"
    %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)
    irdl.operands(x: %type)
    irdl.results(result: %type)
    %attribute = irdl.any
    irdl.attributes {"k" = %attribute}
  }
  irdl.operation @shift_sum {
    %f32 = irdl.is f32
    %f16 = irdl.is f16
    %bf16 = irdl.is bf16
    %vector = irdl.base "!builtin.vector"
    %tensor = irdl.base "!builtin.tensor"
    %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)
    irdl.operands(x: %type)
    irdl.results(result: %type)
    %attribute = irdl.any
    irdl.attributes {"negative" = %attribute, "exponents" = %attribute}
  }
  irdl.operation @mul_slope {
    %f32 = irdl.is f32
    %f16 = irdl.is f16
    %bf16 = irdl.is bf16
    %vector = irdl.base "!builtin.vector"
    %tensor = irdl.base "!builtin.tensor"
    %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)
    irdl.operands(a: %type, b: %type)
    irdl.results(result: %type)
  }
  irdl.operation @div_slope_a {
    %f32 = irdl.is f32
    %f16 = irdl.is f16
    %bf16 = irdl.is bf16
    %vector = irdl.base "!builtin.vector"
    %tensor = irdl.base "!builtin.tensor"
    %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)
    irdl.operands(a: %type, b: %type)
    irdl.results(result: %type)
  }
  irdl.operation @div_slope_b {
    %f32 = irdl.is f32
    %f16 = irdl.is f16
    %bf16 = irdl.is bf16
    %vector = irdl.base "!builtin.vector"
    %tensor = irdl.base "!builtin.tensor"
    %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)
    irdl.operands(a: %type, b: %type)
    irdl.results(result: %type)
  }
  irdl.operation @exp2_slope {
    %f32 = irdl.is f32
    %f16 = irdl.is f16
    %bf16 = irdl.is bf16
    %vector = irdl.base "!builtin.vector"
    %tensor = irdl.base "!builtin.tensor"
    %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)
    irdl.operands(x: %type)
    irdl.results(result: %type)
  }
  irdl.operation @log2_slope {
    %f32 = irdl.is f32
    %f16 = irdl.is f16
    %bf16 = irdl.is bf16
    %vector = irdl.base "!builtin.vector"
    %tensor = irdl.base "!builtin.tensor"
    %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)
    irdl.operands(x: %type)
    irdl.results(result: %type)
  }
  irdl.operation @sqrt_slope {
    %f32 = irdl.is f32
    %f16 = irdl.is f16
    %bf16 = irdl.is bf16
    %vector = irdl.base "!builtin.vector"
    %tensor = irdl.base "!builtin.tensor"
    %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)
    irdl.operands(x: %type)
    irdl.results(result: %type)
  }
}
