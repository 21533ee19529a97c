// What MLIR's C API lacks: passes with options in the global registry, an extensible dialect made
// from a table, and upstream's own expansions of structured and vector operations. Everything that
// is decided is decided in Rust (mod.rs); no exception and no panic crosses these functions.

#include "mlir-c/IR.h"
#include "mlir/CAPI/IR.h"
#include "mlir/CAPI/Support.h"
#include "mlir/Conversion/AffineToStandard/AffineToStandard.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/Vector/Transforms/LoweringPatterns.h"
#include "mlir/Dialect/Vector/Transforms/VectorRewritePatterns.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ExtensibleDialect.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

extern "C" {
struct PamcOption {
  const char *name, *doc, *init;
};
struct PamcPass {
  const char *name, *doc;
  const PamcOption *options;
  size_t optionCount;
  size_t id;
};
struct PamcDialectOp {
  const char *name;
  size_t operands;
  const char *const *attributes;
  size_t attributeCount;
};

// Defined in Rust; none of them unwinds.
bool pamc_run_pass(size_t id, MlirOperation op, const MlirStringRef *options, size_t count);
void pamc_dependent_dialects(size_t id, MlirDialectRegistry registry);
}

namespace {
/// A pass on any operation whose body is a Rust function.
class RustPass : public Pass {
public:
  explicit RustPass(const PamcPass &spec)
      : Pass(TypeID::getFromOpaquePointer(&spec)), spec(spec) {
    for (size_t i = 0; i < spec.optionCount; ++i)
      options.push_back(std::make_unique<Option<std::string>>(
          *this, spec.options[i].name, llvm::cl::desc(spec.options[i].doc),
          llvm::cl::init(std::string(spec.options[i].init))));
  }
  RustPass(const RustPass &other) : RustPass(other.spec) {}

  StringRef getName() const override { return spec.name; }
  StringRef getArgument() const override { return spec.name; }
  StringRef getDescription() const override { return spec.doc; }
  bool canScheduleOn(RegisteredOperationName) const override { return true; }
  std::unique_ptr<Pass> clonePass() const override {
    return std::make_unique<RustPass>(*this);
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    pamc_dependent_dialects(spec.id, wrap(&registry));
  }
  void runOnOperation() override {
    SmallVector<MlirStringRef> values;
    for (auto &option : options)
      values.push_back(wrap(StringRef(option->getValue())));
    if (!pamc_run_pass(spec.id, wrap(getOperation()), values.data(), values.size()))
      signalPassFailure();
  }

private:
  const PamcPass &spec;
  SmallVector<std::unique_ptr<Option<std::string>>> options;
};

/// As the IRDL file has it: a number of operands of one float type, one result of that type.
LogicalResult verify(Operation *op, const PamcDialectOp &spec) {
  if (op->getNumOperands() != spec.operands || op->getNumResults() != 1)
    return op->emitOpError() << "takes " << spec.operands << " operand(s) and gives one result";
  Type type = op->getResult(0).getType();
  if (!isa<FloatType>(getElementTypeOrSelf(type)))
    return op->emitOpError() << "is defined on floats, not on " << type;
  for (Value operand : op->getOperands())
    if (operand.getType() != type)
      return op->emitOpError() << "has operands and a result of different types";
  for (size_t i = 0; i < spec.attributeCount; ++i)
    if (!op->hasAttr(spec.attributes[i]))
      return op->emitOpError() << "needs the attribute '" << spec.attributes[i] << "'";
  return success();
}

/// A masked reduction by products as one over factors that are 1 where the mask is off; the
/// operation itself if it is none.
Operation *unmask(Operation *op) {
  auto reduction = dyn_cast<vector::ReductionOp>(op);
  if (!reduction || reduction.getKind() != vector::CombiningKind::MUL || !reduction.isMasked())
    return op;
  auto mask = cast<vector::MaskOp>(reduction.getMaskingOp().getOperation());
  IRRewriter rewriter(op->getContext());
  rewriter.setInsertionPoint(mask);
  Value vector = reduction.getVector();
  auto one = rewriter.getOneAttr(vector.getType());
  Value ones = arith::ConstantOp::create(rewriter, op->getLoc(), one);
  Value kept = arith::SelectOp::create(rewriter, op->getLoc(), mask.getMask(), vector, ones);
  auto whole = vector::ReductionOp::create(rewriter, op->getLoc(), reduction.getKind(), kept,
                                           reduction.getAcc());
  rewriter.replaceOp(mask, whole.getResult());
  return whole;
}
} // namespace

extern "C" {
/// Registers a pass; the table lives for ever.
void pamcRegisterPass(const PamcPass *spec) {
  registerPass([spec]() -> std::unique_ptr<Pass> { return std::make_unique<RustPass>(*spec); });
}

/// Offers a dialect made of a table of operations, which lives for ever.
void pamcInsertDialect(MlirDialectRegistry registry, const char *name, const PamcDialectOp *ops,
                       size_t count) {
  unwrap(registry)->insertDynamic(name, [ops, count](MLIRContext *, DynamicDialect *dialect) {
    for (const PamcDialectOp &spec : ArrayRef(ops, count))
      dialect->registerDynamicOp(DynamicOpDefinition::get(
          spec.name, dialect, [&spec](Operation *op) { return verify(op, spec); },
          [](Operation *) { return success(); }));
  });
}

/// Parses text or bytecode as a module, which is made around operations without one; null on a
/// failure, which is reported. The source ends in a NUL that its length does not count.
MlirOperation pamcParseModule(MlirContext context, MlirStringRef source, MlirStringRef name) {
  ParserConfig config(unwrap(context));
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(unwrap(source), config, unwrap(name));
  return wrap(module ? module.release().getOperation() : nullptr);
}

/// Reports a warning.
void pamcWarn(MlirLocation location, const char *message) {
  emitWarning(unwrap(location)) << message;
}

/// 1 for a named structured operation, whose body its text does not show.
int pamcIsNamedStructured(MlirOperation operation) {
  Operation *op = unwrap(operation);
  return isa<linalg::LinalgOp>(op) &&
         !isa<linalg::GenericOp, linalg::MapOp, linalg::ReduceOp>(op);
}

/// Replaces a named structured operation by a linalg.generic; false if it cannot be.
bool pamcGeneralize(MlirOperation operation) {
  IRRewriter rewriter(unwrap(operation)->getContext());
  auto op = cast<linalg::LinalgOp>(unwrap(operation));
  rewriter.setInsertionPoint(op);
  return succeeded(linalg::generalizeNamedOp(rewriter, op));
}

/// Replaces linalg.softmax and its like by structured operations; false if it cannot be.
bool pamcDecompose(MlirOperation operation) {
  Operation *op = unwrap(operation);
  auto aggregated = dyn_cast<linalg::AggregatedOpInterface>(op);
  auto style = dyn_cast<DestinationStyleOpInterface>(op);
  if (!aggregated || !style || !style.hasPureTensorSemantics())
    return false;
  IRRewriter rewriter(op->getContext());
  rewriter.setInsertionPoint(op);
  FailureOr<SmallVector<Value>> values = aggregated.decomposeOperation(rewriter);
  if (failed(values))
    return false;
  rewriter.replaceOp(op, *values);
  return true;
}

/// Applies upstream's lowerings of affine loops and accesses to an operation and all inside it.
void pamcLowerAffine(MlirOperation operation) {
  SmallVector<Operation *> ops;
  unwrap(operation)->walk([&](Operation *op) {
    if (isa_and_nonnull<affine::AffineDialect>(op->getDialect()))
      ops.push_back(op);
  });
  RewritePatternSet patterns(unwrap(operation)->getContext());
  populateAffineToStdConversionPatterns(patterns);
  populateAffineToVectorConversionPatterns(patterns);
  GreedyRewriteConfig config;
  config.setStrictness(GreedyRewriteStrictness::ExistingAndNewOps);
  (void)applyOpPatternsGreedily(ops, std::move(patterns), config);
}

/// Applies upstream's lowerings of contractions, outer products, scans and reductions to these
/// operations and what becomes of them.
void pamcExpandVectors(const MlirOperation *operations, size_t count) {
  if (count == 0)
    return;
  SmallVector<Operation *> ops;
  for (size_t i = 0; i < count; ++i)
    ops.push_back(unmask(unwrap(operations[i])));
  MLIRContext *context = ops.front()->getContext();
  RewritePatternSet patterns(context);
  vector::populateVectorContractLoweringPatterns(
      patterns, vector::VectorContractLowering::OuterProduct);
  vector::populateVectorOuterProductLoweringPatterns(patterns);
  vector::populateVectorMultiReductionLoweringPatterns(
      patterns, vector::VectorMultiReductionLowering::InnerParallel);
  vector::populateVectorScanLoweringPatterns(patterns);
  vector::populateVectorMaskOpLoweringPatterns(patterns);
  // A lane count above any vector's: every reduction among these operations is taken apart.
  vector::populateBreakDownVectorReductionPatterns(patterns, 1u << 20);
  GreedyRewriteConfig config;
  config.setStrictness(GreedyRewriteStrictness::ExistingAndNewOps);
  (void)applyOpPatternsGreedily(ops, std::move(patterns), config);
}
}
