//! Verified accessors for `ort_training_checkpoint.fbs` (file identifier "ODTC").
//!
//! One line a table: its fields with slot number and type. From it come both the verifier's walk
//! and the getters, so that no getter reads what was not verified.

use flatbuffers::{
    Follow, ForwardsUOffset, InvalidFlatbuffer, Table, VOffsetT, Vector, Verifiable, Verifier,
};

/// The byte offset in a vtable of field number `field`.
pub(super) const fn slot(field: VOffsetT) -> VOffsetT {
    4 + 2 * field
}

macro_rules! tables {
    ($($name:ident<$l:lifetime> { $($field:ident @ $number:literal: $ty:ty),* $(,)? })*) => {$(
        #[derive(Clone, Copy)]
        pub(super) struct $name<$l>(Table<$l>);

        impl<$l> Follow<$l> for $name<$l> {
            type Inner = Self;
            unsafe fn follow(buf: &$l [u8], loc: usize) -> Self {
                // SAFETY: the caller of `follow` vouches that a table of this kind is at `loc`.
                Self(unsafe { Table::new(buf, loc) })
            }
        }

        impl<$l> Verifiable for $name<$l> {
            fn run_verifier(v: &mut Verifier, pos: usize) -> Result<(), InvalidFlatbuffer> {
                v.visit_table(pos)?
                    $(.visit_field::<$ty>(stringify!($field), slot($number), false)?)*
                    .finish();
                Ok(())
            }
        }

        impl<$l> $name<$l> {$(
            pub(super) fn $field(&self) -> Option<<$ty as Follow<$l>>::Inner> {
                // SAFETY: `run_verifier` has checked this slot to hold this type, and the only
                // way to a value of this struct is a verified root.
                unsafe { self.0.get::<$ty>(slot($number), None) }
            }
        )*}
    )*};
}

type Text<'a> = ForwardsUOffset<&'a str>;
type List<'a, T> = ForwardsUOffset<Vector<'a, ForwardsUOffset<T>>>;
type Scalars<'a, T> = ForwardsUOffset<Vector<'a, T>>;

tables! {
    Tensor<'a> {
        name @ 0: Text<'a>,
        dims @ 2: Scalars<'a, i64>,
        data_type @ 3: i32,
        raw_data @ 4: Scalars<'a, u8>,
        external_data_offset @ 6: i64,
    }
    ModuleState<'a> {
        requires_grad_params @ 0: List<'a, Tensor<'a>>,
        frozen_params @ 1: List<'a, Tensor<'a>>,
        is_nominal_state @ 2: bool,
        has_external_data @ 3: bool,
    }
    ParameterOptimizerState<'a> {
        param_name @ 0: Text<'a>,
        momentums @ 1: List<'a, Tensor<'a>>,
    }
    OptimizerGroup<'a> {
        group_name @ 0: Text<'a>,
        step @ 1: i64,
        initial_learning_rate @ 2: f32,
        optimizer_states @ 3: List<'a, ParameterOptimizerState<'a>>,
    }
    IntProperty<'a> { name @ 0: Text<'a>, value @ 1: i64 }
    FloatProperty<'a> { name @ 0: Text<'a>, value @ 1: f32 }
    StringProperty<'a> { name @ 0: Text<'a>, value @ 1: Text<'a> }
    PropertyBag<'a> {
        ints @ 0: List<'a, IntProperty<'a>>,
        floats @ 1: List<'a, FloatProperty<'a>>,
        strings @ 2: List<'a, StringProperty<'a>>,
    }
    Root<'a> {
        version @ 0: i32,
        module_state @ 1: ForwardsUOffset<ModuleState<'a>>,
        optimizer_groups @ 2: List<'a, OptimizerGroup<'a>>,
        property_bag @ 3: ForwardsUOffset<PropertyBag<'a>>,
    }
}
