//! Formulas over values: what the translations of operators are written with.

use pamc_passes::ir::{Attrs, DType, Tensor};
use pamc_passes::ops::broadcast_shapes;

use super::value::{Build, Fault, Made, Value, few, invalid};

macro_rules! unary {
    ($($name:ident),*) => {$(
        pub fn $name(&mut self, x: &Value) -> Made {
            self.op(stringify!($name), &[x], Attrs::none())
        }
    )*};
}

macro_rules! binary {
    ($($name:ident),*) => {$(
        pub fn $name(&mut self, a: &Value, b: &Value) -> Made {
            self.op(stringify!($name), &[a, b], Attrs::none())
        }
    )*};
}

impl Build<'_> {
    unary! { exp, log, sqrt, tanh, sigmoid, erf }
    binary! { add, sub, max, gt, eq }

    /// A scalar f32 constant.
    pub fn scalar(&self, x: f32) -> Value {
        Value::Const(Tensor::scalar(x))
    }

    /// A scalar of `v`'s element type.
    pub fn scalar_as(&self, v: &Value, x: i32) -> Value {
        Value::Const(match self.dtype(v) {
            DType::F32 => Tensor::scalar(x as f32),
            DType::I32 => Tensor::scalar(x),
            DType::I64 => Tensor::scalar(i64::from(x)),
            DType::Bool => Tensor::scalar(x != 0),
        })
    }

    /// Product; of integers by shifts and adds.
    pub fn mul(&mut self, a: &Value, b: &Value) -> Made {
        self.arithmetic("mul", a, b)
    }

    /// Quotient; of integers by shifts and subtractions, rounded towards zero.
    pub fn div(&mut self, a: &Value, b: &Value) -> Made {
        self.arithmetic("div", a, b)
    }

    /// `mul`, `div`, `mod` (sign of the divisor) or `fmod` (sign of the dividend).
    pub fn arithmetic(&mut self, name: &str, a: &Value, b: &Value) -> Made {
        if self.dtype(a) == DType::F32 {
            return match name {
                "mod" | "fmod" => self.float_remainder(name, a, b),
                _ => self.op(name, &[a, b], Attrs::none()),
            };
        }
        match (a, b) {
            (Value::Const(x), Value::Const(y)) => integers(name, x, y).map(Value::Const),
            (Value::Const(_), _) | (_, Value::Const(_)) if name == "mul" => {
                self.op(name, &[a, b], Attrs::none())
            }
            _ if name == "mul" => self.integer_product(a, b),
            _ => self.integer_quotient(name, a, b),
        }
    }

    pub fn mul_const(&mut self, x: &Value, c: f32) -> Made {
        if c == 1.0 {
            return Ok(x.clone());
        }
        let c = self.scalar(c);
        self.mul(x, &c)
    }

    pub fn add_const(&mut self, x: &Value, c: f32) -> Made {
        let c = self.scalar(c);
        self.add(x, &c)
    }

    /// `a` where `condition`, else `b`; decided now if the condition is one known value.
    pub fn select(&mut self, condition: &Value, a: &Value, b: &Value) -> Made {
        if let Value::Const(Tensor::Bool(c)) = condition
            && let Some(&first) = c.iter().next()
            && c.iter().all(|&x| x == first)
        {
            let shapes = [self.shape(condition), self.shape(a), self.shape(b)];
            let shape =
                broadcast_shapes(&shapes.each_ref().map(Vec::as_slice)).map_err(Fault::Invalid)?;
            return self.expand(if first { a } else { b }, &shape);
        }
        self.op("select", &[condition, a, b], Attrs::none())
    }

    /// The same value, but no derivative goes through it.
    pub fn detached(&mut self, x: &Value) -> Made {
        match (x, self.dtype(x)) {
            (Value::Node(_), DType::F32) => self.op("detach", &[x], Attrs::none()),
            _ => Ok(x.clone()),
        }
    }

    /// The same elements under another shape; nothing if it is the same.
    pub fn reshape(&mut self, x: &Value, shape: &[usize]) -> Made {
        if self.shape(x) == shape {
            return Ok(x.clone());
        }
        self.op("reshape", &[x], Attrs::none().with("shape", shape))
    }

    /// Permuted axes; nothing for the identity.
    pub fn transpose(&mut self, x: &Value, perm: &[usize]) -> Made {
        if perm.iter().enumerate().all(|(i, &p)| i == p) && perm.len() == self.rank(x) {
            return Ok(x.clone());
        }
        self.op("transpose", &[x], Attrs::none().with("perm", perm))
    }

    /// Broadcast to `shape`; nothing if it has it.
    pub fn expand(&mut self, x: &Value, shape: &[usize]) -> Made {
        if self.shape(x) == shape {
            return Ok(x.clone());
        }
        self.op("expand", &[x], Attrs::none().with("shape", shape))
    }

    /// Convert the element type; nothing if it is the same.
    pub fn cast(&mut self, x: &Value, to: DType) -> Made {
        if self.dtype(x) == to {
            return Ok(x.clone());
        }
        self.op("cast", &[x], Attrs::none().with("to", to))
    }

    pub fn gather(&mut self, x: &Value, index: &Value, axis: usize) -> Made {
        self.op("gather", &[x, index], Attrs::none().with("axis", axis as i64))
    }

    pub fn concat(&mut self, parts: &[&Value], axis: usize) -> Made {
        if let [only] = parts {
            return Ok((*only).clone());
        }
        self.op("concat", parts, Attrs::none().with("axis", axis as i64))
    }

    /// `len` elements of one axis from `start` on.
    pub fn slice(&mut self, x: &Value, axis: usize, start: usize, len: usize) -> Made {
        let mut sizes = self.shape(x);
        let mut starts = vec![0; sizes.len()];
        (starts[axis], sizes[axis]) = (start, len);
        self.slice_by(x, &starts.iter().map(|&s| s as i64).collect::<Vec<_>>(), &sizes, None)
    }

    /// `sizes[i]` elements of axis i from `starts[i]` on, every `steps[i]`-th.
    pub fn slice_by(
        &mut self,
        x: &Value,
        starts: &[i64],
        sizes: &[usize],
        steps: Option<&[i64]>,
    ) -> Made {
        if self.shape(x) == sizes && steps.is_none_or(|s| s.iter().all(|&s| s == 1)) {
            return Ok(x.clone());
        }
        let steps = steps.map_or_else(|| vec![1; sizes.len()], <[i64]>::to_vec);
        let attrs =
            Attrs::none().with("starts", starts.to_vec()).with("sizes", sizes).with("steps", steps);
        self.op("slice", &[x], attrs)
    }

    /// One of the reductions over `axes`; over none it is the identity.
    pub fn reduce(&mut self, name: &str, x: &Value, axes: &[usize], keep: bool) -> Made {
        if axes.is_empty() {
            return Ok(x.clone());
        }
        self.op(name, &[x], Attrs::none().with("axes", axes).with("keepdims", keep))
    }

    pub fn sum(&mut self, x: &Value, axes: &[usize], keep: bool) -> Made {
        self.reduce("sum", x, axes, keep)
    }

    pub fn mean(&mut self, x: &Value, axes: &[usize], keep: bool) -> Made {
        self.reduce("mean", x, axes, keep)
    }

    /// Matrix product of the last two axes; `ta`, `tb` swap an operand's first.
    pub fn matmul(&mut self, a: &Value, b: &Value, ta: bool, tb: bool) -> Made {
        self.op("matmul", &[a, b], Attrs::none().with("ta", ta).with("tb", tb))
    }

    /// `1` (of `like`'s type) where the class axis equals the label, else `0`; the new axis is
    /// put at `axis`.
    pub fn one_hot(&mut self, labels: &Value, classes: usize, axis: usize) -> Made {
        let mut shape = self.shape(labels);
        if axis > shape.len() {
            return invalid(format!("class axis {axis} of labels of rank {}", shape.len()));
        }
        shape.insert(axis, 1);
        let labels = self.reshape(labels, &shape)?;
        let mut ramp = vec![1; shape.len()];
        ramp[axis] = classes;
        let ramp = self.ramp(self.dtype(&labels), &ramp)?;
        self.eq(&labels, &ramp)
    }

    /// 0, 1, 2, … of an integer type under `shape`, in row-major order.
    pub fn ramp(&self, dtype: DType, shape: &[usize]) -> Made {
        let n = few(shape)?;
        let tensor = match dtype {
            DType::I32 => Tensor::from_vec(shape, (0..n as i32).collect()),
            _ => Tensor::from_vec(shape, (0..n as i64).collect()),
        };
        tensor.map(Value::Const).ok_or_else(|| Fault::Invalid("a ramp of a wrong size".into()))
    }
}

fn integers(name: &str, a: &Tensor, b: &Tensor) -> Made<Tensor> {
    let apply = |x: i64, y: i64| match name {
        "mul" => x.checked_mul(y),
        "div" => x.checked_div(y),
        "mod" => x.checked_rem(y).map(|r| if r != 0 && (r < 0) != (y < 0) { r + y } else { r }),
        _ => x.checked_rem(y),
    };
    let shape = broadcast_shapes(&[a.shape(), b.shape()]).map_err(Fault::Invalid)?;
    let (x, y) = (wide(a, &shape)?, wide(b, &shape)?);
    let out = x.iter().zip(&y).map(|(&x, &y)| apply(x, y)).collect::<Option<Vec<i64>>>();
    let out = out.ok_or_else(|| Fault::Invalid(format!("integer {name} overflows")))?;
    let tensor = if a.dtype() == DType::I32 && b.dtype() == DType::I32 {
        Tensor::from_vec(&shape, out.iter().map(|&x| x as i32).collect())
    } else {
        Tensor::from_vec(&shape, out)
    };
    tensor.ok_or_else(|| Fault::Invalid(format!("integer {name} of a wrong size")))
}

fn wide(t: &Tensor, shape: &[usize]) -> Made<Vec<i64>> {
    let all: Option<Vec<i64>> = match t {
        Tensor::I64(a) => a.broadcast(shape).map(|a| a.iter().copied().collect()),
        Tensor::I32(a) => a.broadcast(shape).map(|a| a.iter().map(|&x| x.into()).collect()),
        _ => None,
    };
    all.ok_or_else(|| Fault::Invalid(format!("{} is not a tensor of integers", t.ty())))
}
