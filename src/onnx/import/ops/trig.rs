//! Trigonometric and hyperbolic functions, composed of other operators.

use pamc_passes::ir::Attrs;

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Build, Made, Value};

type Out = Made<Vec<Value>>;

impl Build<'_> {
    /// c₀ + c₁ x + c₂ x² + …
    fn polynomial(&mut self, x: &Value, coefficients: &[f32]) -> Made {
        let mut rest = coefficients.iter().rev();
        let mut y = self.scalar(rest.next().copied().unwrap_or(0.0));
        for &c in rest {
            y = self.mul(&y, x)?;
            y = self.add_const(&y, c)?;
        }
        Ok(y)
    }

    /// x·(c₀ + c₁ x² + c₂ x⁴ + …)
    fn odd_polynomial(&mut self, x: &Value, coefficients: &[f32]) -> Made {
        let square = self.mul(x, x)?;
        let p = self.polynomial(&square, coefficients)?;
        self.mul(x, &p)
    }

    fn magnitude(&mut self, x: &Value) -> Made {
        self.op("abs", &[x], Attrs::none())
    }

    /// y with x's sign.
    fn signed(&mut self, x: &Value, y: &Value) -> Made {
        let (zero, minus) = (self.scalar(0.0), self.op("neg", &[y], Attrs::none())?);
        let negative = self.op("lt", &[x, &zero], Attrs::none())?;
        self.select(&negative, &minus, y)
    }

    /// `near` where |x| < limit, else `far`.
    fn near(&mut self, x: &Value, limit: f32, near: &[f32], far: &Value) -> Made {
        let (size, bound) = (self.magnitude(x)?, self.scalar(limit));
        let close = self.op("lt", &[&size, &bound], Attrs::none())?;
        let near = self.odd_polynomial(x, near)?;
        self.select(&close, &near, far)
    }

    /// Arc tangent: of 1/|x| where |x| > 1; a polynomial (Abramowitz & Stegun 4.4.49's form) below.
    fn arc_tangent(&mut self, x: &Value) -> Made {
        let (a, one) = (self.magnitude(x)?, self.scalar(1.0));
        let large = self.gt(&a, &one)?;
        let inverse = self.div(&one, &a)?;
        let z = self.select(&large, &inverse, &a)?;
        let series = [
            0.999_999_34,
            -0.333_298_56,
            0.199_465_36,
            -0.139_085_34,
            0.096_420_04,
            -0.055_909_86,
            0.021_861_22,
            -0.004_054_058,
        ];
        let p = self.odd_polynomial(&z, &series)?;
        let quarter = self.scalar(std::f32::consts::FRAC_PI_2);
        let rest = self.sub(&quarter, &p)?;
        let y = self.select(&large, &rest, &p)?;
        self.signed(x, &y)
    }
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident: |$b:ident, $x:ident| $body:expr;)*) => {$(
        $(#[$doc])*
        pub(in crate::onnx) fn $name(s: &mut Site) -> Out {
            fn of($b: &mut Build, $x: &Value) -> Made {
                $body
            }
            let x = s.input(0)?;
            Ok(vec![of(&mut s.b, &x)?])
        }
    )*};
}

unary! {
    atan: |b, x| b.arc_tangent(x);
    /// 2·atan(x ÷ (1 + √(1 − x²)))
    asin: |b, x| {
        let (square, one) = (b.mul(x, x)?, b.scalar(1.0));
        let rest = b.sub(&one, &square)?;
        let root = b.sqrt(&rest)?;
        let under = b.add(&root, &one)?;
        let ratio = b.div(x, &under)?;
        let half = b.arc_tangent(&ratio)?;
        b.add(&half, &half)
    };
    /// 2·atan(√((1 − x) ÷ (1 + x)))
    acos: |b, x| {
        let one = b.scalar(1.0);
        let (over, under) = (b.sub(&one, x)?, b.add(&one, x)?);
        let ratio = b.div(&over, &under)?;
        let root = b.sqrt(&ratio)?;
        let half = b.arc_tangent(&root)?;
        b.add(&half, &half)
    };
    tan: |b, x| {
        let (sin, cos) = (b.op("sin", &[x], Attrs::none())?, b.op("cos", &[x], Attrs::none())?);
        b.div(&sin, &cos)
    };
    /// (eˣ − e⁻ˣ) ÷ 2, near 0 its series.
    sinh: |b, x| {
        let minus = b.op("neg", &[x], Attrs::none())?;
        let (up, down) = (b.exp(x)?, b.exp(&minus)?);
        let both = b.sub(&up, &down)?;
        let far = b.mul_const(&both, 0.5)?;
        b.near(x, 0.5, &[1.0, 1.0 / 6.0, 1.0 / 120.0, 1.0 / 5040.0], &far)
    };
    cosh: |b, x| {
        let minus = b.op("neg", &[x], Attrs::none())?;
        let (up, down) = (b.exp(x)?, b.exp(&minus)?);
        let both = b.add(&up, &down)?;
        b.mul_const(&both, 0.5)
    };
    /// ln(|x| + √(x² + 1)) with x's sign, near 0 its series.
    asinh: |b, x| {
        let (a, square) = (b.magnitude(x)?, b.mul(x, x)?);
        let more = b.add_const(&square, 1.0)?;
        let root = b.sqrt(&more)?;
        let total = b.add(&a, &root)?;
        let y = b.log(&total)?;
        let far = b.signed(x, &y)?;
        b.near(x, 0.25, &[1.0, -1.0 / 6.0, 3.0 / 40.0, -15.0 / 336.0], &far)
    };
    /// ln(x + √(x² − 1))
    acosh: |b, x| {
        let square = b.mul(x, x)?;
        let less = b.add_const(&square, -1.0)?;
        let root = b.sqrt(&less)?;
        let total = b.add(x, &root)?;
        b.log(&total)
    };
    /// ½·ln((1 + x) ÷ (1 − x)), near 0 its series.
    atanh: |b, x| {
        let one = b.scalar(1.0);
        let (over, under) = (b.add(&one, x)?, b.sub(&one, x)?);
        let ratio = b.div(&over, &under)?;
        let y = b.log(&ratio)?;
        let far = b.mul_const(&y, 0.5)?;
        b.near(x, 0.25, &[1.0, 1.0 / 3.0, 1.0 / 5.0, 1.0 / 7.0, 1.0 / 9.0], &far)
    };
}
