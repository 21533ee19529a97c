//! The little of MLIR's C API that the passes need, on operations of somebody else's context.
//!
//! The types are plain handles, valid while the operation they name is: the passes hold none
//! across a change that could delete it.

use mlir_sys::*;
use std::ffi::{CString, c_void};

/// An operation.
#[derive(Clone, Copy)]
pub(crate) struct Op(pub MlirOperation);
/// An SSA value.
#[derive(Clone, Copy)]
pub(crate) struct Val(pub MlirValue);
/// A type.
#[derive(Clone, Copy)]
pub(crate) struct Ty(pub MlirType);
/// An attribute.
#[derive(Clone, Copy)]
pub(crate) struct Attribute(pub MlirAttribute);

/// A string as the C API takes it; it must outlive the call.
pub(crate) fn string_ref(text: &str) -> MlirStringRef {
    MlirStringRef { data: text.as_ptr().cast(), length: text.len() }
}

/// A string as the C API gives it.
///
/// # Safety
/// The string is alive as long as the result is used.
pub(crate) unsafe fn text<'a>(raw: MlirStringRef) -> &'a str {
    if raw.length == 0 {
        return "";
    }
    // SAFETY: as the caller promises.
    let bytes = unsafe { std::slice::from_raw_parts(raw.data.cast::<u8>(), raw.length) };
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Collects what a printing function writes.
pub(crate) fn printed(print: impl FnOnce(MlirStringCallback, *mut c_void)) -> String {
    unsafe extern "C" fn append(part: MlirStringRef, sink: *mut c_void) {
        // SAFETY: `sink` is the string below, which outlives the call of `print`.
        unsafe { (*sink.cast::<String>()).push_str(text(part)) }
    }
    let mut out = String::new();
    print(Some(append), (&raw mut out).cast());
    out
}

// SAFETY of every block below: the handle names a live object of the context, and indices are below
// the counts that the same object reports.
impl Op {
    pub fn name(self) -> &'static str {
        // Operation names are interned in the context, which outlives every pass.
        unsafe { text(mlirIdentifierStr(mlirOperationGetName(self.0))) }
    }
    pub fn context(self) -> MlirContext {
        unsafe { mlirOperationGetContext(self.0) }
    }
    pub fn location(self) -> MlirLocation {
        unsafe { mlirOperationGetLocation(self.0) }
    }
    pub fn operand_count(self) -> usize {
        unsafe { mlirOperationGetNumOperands(self.0) as usize }
    }
    pub fn operand(self, i: usize) -> Val {
        Val(unsafe { mlirOperationGetOperand(self.0, i as isize) })
    }
    pub fn operands(self) -> impl Iterator<Item = Val> {
        (0..self.operand_count()).map(move |i| self.operand(i))
    }
    pub fn results(self) -> impl Iterator<Item = Val> {
        let count = unsafe { mlirOperationGetNumResults(self.0) };
        (0..count).map(move |i| Val(unsafe { mlirOperationGetResult(self.0, i) }))
    }
    /// Operands, then results.
    pub fn values(self) -> impl Iterator<Item = Val> {
        self.operands().chain(self.results())
    }
    pub fn block(self) -> MlirBlock {
        unsafe { mlirOperationGetBlock(self.0) }
    }
    /// True if it stands before another operation of its block.
    pub fn is_before(self, other: Op) -> bool {
        unsafe { mlirOperationIsBeforeInBlock(self.0, other.0) }
    }
    pub fn erase(self) {
        unsafe { mlirOperationDestroy(self.0) }
    }
    pub fn attribute(self, name: &str) -> Option<Attribute> {
        let raw = unsafe { mlirOperationGetAttributeByName(self.0, string_ref(name)) };
        (!raw.ptr.is_null()).then_some(Attribute(raw))
    }
    pub fn set_attribute(self, name: &str, value: Attribute) {
        unsafe { mlirOperationSetAttributeByName(self.0, string_ref(name), value.0) }
    }
    /// Every attribute, inherent ones included.
    pub fn attributes(self) -> Vec<MlirNamedAttribute> {
        let count = unsafe { mlirOperationGetNumAttributes(self.0) };
        (0..count).map(|i| unsafe { mlirOperationGetAttribute(self.0, i) }).collect()
    }
    /// Blocks of all regions.
    pub fn blocks(self) -> Vec<MlirBlock> {
        let mut blocks = Vec::new();
        let regions = unsafe { mlirOperationGetNumRegions(self.0) };
        for i in 0..regions {
            let mut block = unsafe { mlirRegionGetFirstBlock(mlirOperationGetRegion(self.0, i)) };
            while !block.ptr.is_null() {
                blocks.push(block);
                block = unsafe { mlirBlockGetNextInRegion(block) };
            }
        }
        blocks
    }
    /// This operation and all inside it, each before what it holds.
    pub fn all(self) -> Vec<Op> {
        let mut found = vec![self];
        let mut next = 0;
        while next < found.len() {
            let op: Op = found[next];
            next += 1;
            let inside: Vec<Op> = op.blocks().into_iter().flat_map(operations).collect();
            // In place, so that the order stays that of the text.
            found.splice(next..next, inside);
        }
        found
    }
    /// Uses of every result move to `values`; then the operation is deleted.
    pub fn replace(self, values: &[Val]) {
        for (result, value) in self.results().zip(values) {
            result.replace_uses(*value);
        }
        self.erase();
    }
    /// Inserts a new operation before this one.
    pub fn insert_before(self, new: Op) {
        unsafe { mlirBlockInsertOwnedOperationBefore(mlirOperationGetBlock(self.0), self.0, new.0) }
    }
    pub fn parent(self) -> Option<Op> {
        let parent = unsafe { mlirOperationGetParentOperation(self.0) };
        (!parent.ptr.is_null()).then_some(Op(parent))
    }
    /// Reports an error where the operation is: an implied one, in the body of a named structured
    /// operation, where that is.
    pub fn error(self, message: &str) {
        let (location, message) = self.place(message);
        unsafe { mlirEmitError(location, message.as_ptr()) }
    }
    /// Reports a warning in the same way.
    pub fn warning(self, message: &str) {
        let (location, message) = self.place(message);
        super::shim::warn(location, &message);
    }
    fn place(self, message: &str) -> (MlirLocation, CString) {
        let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
        let mut location = self.location();
        let mut op = self;
        unsafe {
            let unknown = mlirLocationUnknownGet(self.context());
            while mlirLocationEqual(location, unknown)
                && let Some(parent) = op.parent()
            {
                (op, location) = (parent, parent.location());
            }
        }
        (location, message)
    }
}

/// Makes an operation without regions, where `site` comes from; it is not inserted anywhere.
pub(crate) fn create(
    name: &str,
    site: Op,
    operands: &[Val],
    results: &[Ty],
    attributes: &[MlirNamedAttribute],
) -> Op {
    let operands: Vec<MlirValue> = operands.iter().map(|v| v.0).collect();
    let results: Vec<MlirType> = results.iter().map(|ty| ty.0).collect();
    // SAFETY: every list outlives the call that copies it.
    unsafe {
        let mut state = mlirOperationStateGet(string_ref(name), site.location());
        mlirOperationStateAddOperands(&mut state, operands.len() as isize, operands.as_ptr());
        mlirOperationStateAddResults(&mut state, results.len() as isize, results.as_ptr());
        let count = attributes.len() as isize;
        mlirOperationStateAddAttributes(&mut state, count, attributes.as_ptr());
        Op(mlirOperationCreate(&mut state))
    }
}

/// Operations of a block, in order.
pub(crate) fn operations(block: MlirBlock) -> Vec<Op> {
    let mut found = Vec::new();
    let mut op = unsafe { mlirBlockGetFirstOperation(block) };
    while !op.ptr.is_null() {
        found.push(Op(op));
        op = unsafe { mlirOperationGetNextInBlock(op) };
    }
    found
}

impl Val {
    pub fn ty(self) -> Ty {
        Ty(unsafe { mlirValueGetType(self.0) })
    }
    pub fn definition(self) -> Option<Op> {
        unsafe { mlirValueIsAOpResult(self.0).then(|| Op(mlirOpResultGetOwner(self.0))) }
    }
    /// For a block's argument: the operation that holds the block, and the argument's number.
    pub fn argument_of(self) -> Option<(Op, usize)> {
        unsafe {
            if !mlirValueIsABlockArgument(self.0) {
                return None;
            }
            let owner = mlirBlockGetParentOperation(mlirBlockArgumentGetOwner(self.0));
            let number = mlirBlockArgumentGetArgNumber(self.0) as usize;
            (!owner.ptr.is_null()).then_some((Op(owner), number))
        }
    }
    /// Every use moves to another value.
    pub fn replace_uses(self, with: Val) {
        unsafe { mlirValueReplaceAllUsesOfWith(self.0, with.0) }
    }
    /// Operations that use the value, with the number of the operand.
    pub fn uses(self) -> Vec<(Op, usize)> {
        let mut found = Vec::new();
        let mut r#use = unsafe { mlirValueGetFirstUse(self.0) };
        while unsafe { !mlirOpOperandIsNull(r#use) } {
            unsafe {
                let number = mlirOpOperandGetOperandNumber(r#use) as usize;
                found.push((Op(mlirOpOperandGetOwner(r#use)), number));
                r#use = mlirOpOperandGetNextUse(r#use);
            }
        }
        found
    }
}

impl Ty {
    pub fn is_vector(self) -> bool {
        unsafe { mlirTypeIsAVector(self.0) }
    }
    pub fn is_tensor(self) -> bool {
        unsafe { mlirTypeIsATensor(self.0) }
    }
    pub fn is_ranked_tensor(self) -> bool {
        unsafe { mlirTypeIsARankedTensor(self.0) }
    }
    pub fn is_float(self) -> bool {
        unsafe { mlirTypeIsAFloat(self.0) }
    }
    /// True for a float of more than 32 bits.
    pub fn is_wider_than_f32(self) -> bool {
        unsafe { self.is_float() && mlirFloatTypeGetWidth(self.0) > 32 }
    }
    pub fn has_static_shape(self) -> bool {
        unsafe { mlirShapedTypeHasStaticShape(self.0) }
    }
    pub fn is_index(self) -> bool {
        unsafe { mlirTypeIsAIndex(self.0) }
    }
    pub fn is_integer(self) -> bool {
        unsafe { mlirTypeIsAInteger(self.0) }
    }
    pub fn is_shaped(self) -> bool {
        unsafe { mlirTypeIsAShaped(self.0) }
    }
    /// Element type of a vector, tensor or memref; the type itself otherwise.
    pub fn element(self) -> Ty {
        match self.is_shaped() {
            true => Ty(unsafe { mlirShapedTypeGetElementType(self.0) }),
            false => self,
        }
    }
    /// Extents of a ranked tensor; `None` where dynamic.
    pub fn dims(self) -> Vec<Option<i64>> {
        unsafe {
            let rank = mlirShapedTypeGetRank(self.0) as isize;
            let size = |i| {
                (!mlirShapedTypeIsDynamicDim(self.0, i))
                    .then(|| mlirShapedTypeGetDimSize(self.0, i))
            };
            (0..rank).map(size).collect()
        }
    }
    /// A vector type of the same shape, scalable dimensions included.
    pub fn vector_of(self, element: Ty) -> Ty {
        unsafe {
            let rank = mlirShapedTypeGetRank(self.0) as isize;
            let shape: Vec<i64> = (0..rank).map(|i| mlirShapedTypeGetDimSize(self.0, i)).collect();
            let scalable: Vec<bool> =
                (0..rank).map(|i| mlirVectorTypeIsDimScalable(self.0, i)).collect();
            let (shape, scalable) = (shape.as_ptr(), scalable.as_ptr());
            Ty(mlirVectorTypeGetScalable(rank, shape, scalable, element.0))
        }
    }
    pub fn text(self) -> String {
        printed(|callback, sink| unsafe { mlirTypePrint(self.0, callback, sink) })
    }
}

impl Attribute {
    /// From its text.
    ///
    /// # Errors
    /// If it is no attribute, with the text.
    pub fn parse(context: MlirContext, text: &str) -> Result<Attribute, String> {
        let raw = unsafe { mlirAttributeParseGet(context, string_ref(text)) };
        if raw.ptr.is_null() {
            Err(format!("'{text}' is no attribute"))
        } else {
            Ok(Attribute(raw))
        }
    }
    /// Under a name, for an operation's list.
    pub fn named(self, context: MlirContext, name: &str) -> MlirNamedAttribute {
        let name = unsafe { mlirIdentifierGet(context, string_ref(name)) };
        MlirNamedAttribute { name, attribute: self.0 }
    }
    /// A vector constant with this value in every lane.
    pub fn splat(self, ty: Ty) -> Attribute {
        Attribute(unsafe { mlirDenseElementsAttrSplatGet(ty.0, self.0) })
    }
    /// The number, if it is one or the same in every element.
    pub fn number(self) -> Option<f64> {
        unsafe {
            if mlirAttributeIsAFloat(self.0) {
                return Some(mlirFloatAttrGetValueDouble(self.0));
            }
            if mlirAttributeIsAInteger(self.0) {
                return Some(mlirIntegerAttrGetValueInt(self.0) as f64);
            }
            let splat =
                mlirAttributeIsADenseElements(self.0) && mlirDenseElementsAttrIsSplat(self.0);
            let value = splat.then(|| Attribute(mlirDenseElementsAttrGetSplatValue(self.0)))?;
            value.number()
        }
    }
    /// The integers of an array.
    pub fn integers(self) -> Option<Vec<i64>> {
        unsafe {
            if mlirAttributeIsAInteger(self.0) {
                return Some(vec![mlirIntegerAttrGetValueInt(self.0)]);
            }
            if mlirAttributeIsADenseI64Array(self.0) {
                let count = mlirDenseArrayGetNumElements(self.0);
                return Some((0..count).map(|i| mlirDenseI64ArrayGetElement(self.0, i)).collect());
            }
            if !mlirAttributeIsAArray(self.0) {
                return None;
            }
            let element = |i| {
                let element = mlirArrayAttrGetElement(self.0, i);
                mlirAttributeIsAInteger(element).then(|| mlirIntegerAttrGetValueInt(element))
            };
            (0..mlirArrayAttrGetNumElements(self.0)).map(element).collect()
        }
    }
    /// The text of a string.
    pub fn string(self) -> Option<String> {
        unsafe {
            mlirAttributeIsAString(self.0).then(|| text(mlirStringAttrGetValue(self.0)).to_owned())
        }
    }
    /// The name in a symbol reference.
    pub fn symbol(self) -> Option<String> {
        unsafe {
            mlirAttributeIsAFlatSymbolRef(self.0)
                .then(|| text(mlirFlatSymbolRefAttrGetValue(self.0)).to_owned())
        }
    }
    /// The last name in a symbol reference.
    pub fn leaf(self) -> Option<String> {
        self.symbol().or_else(|| unsafe {
            mlirAttributeIsASymbolRef(self.0)
                .then(|| text(mlirSymbolRefAttrGetLeafReference(self.0)).to_owned())
        })
    }
    pub fn text(self) -> String {
        printed(|callback, sink| unsafe { mlirAttributePrint(self.0, callback, sink) })
    }
}
