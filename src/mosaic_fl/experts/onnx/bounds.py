"""What a received ONNX model may be: its operators, versions and sizes, and the memory and time that it may take."""

from dataclasses import dataclass

STANDARD = ""  # the domain of ONNX's own operators
CLASSICAL = "ai.onnx.ml"  # trees, linear models, encoders

# Operators that compute a tensor from tensors, without subgraphs, sequences, strings, files or random numbers. Those
# whose output's shape depends on values alone (NonZero, Range, Unique, Compress) are left out.
_STANDARD_OPERATORS = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitShift BitwiseAnd BitwiseNot
BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos
Cosh CumSum DepthToSpace DequantizeLinear Det Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand Flatten
Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample
GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization
LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean
MeanVarianceNormalization Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RNN
Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu Reshape Resize RMSNormalization Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Sinh
Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK
Transpose Trilu Unsqueeze Upsample Where Xor
"""
_CLASSICAL_OPERATORS = """
ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LabelEncoder LinearClassifier LinearRegressor Normalizer
OneHotEncoder Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor
"""
OPERATORS = {
    STANDARD: frozenset(_STANDARD_OPERATORS.split()),
    CLASSICAL: frozenset(_CLASSICAL_OPERATORS.split()),
}
OPSETS = {STANDARD: (7, 26), CLASSICAL: (1, 5)}
IR_VERSIONS = (3, 13)

MAX_BYTES = 2**28  # of a model
MAX_NODES = 20_000
MAX_INITIALISERS = 20_000
MAX_VALUES = 2**26  # of a tensor whose shape is known before the model runs, with one sample where the batch is free
MAX_RANK = 16
MAX_TEXT = 2**20  # characters of a model's own notes

CLASSES = "mosaic.classes"
"""Property of a model: the names of the classes of its outputs in their order, as a JSON list."""
INPUTS = "mosaic.inputs"
"""Property of a model: `rest` where it takes values as they are stored, `network` where it takes encoded ones."""
OUTPUTS = "mosaic.outputs"
"""Property of a model: `logits` (or log-probabilities), `probabilities` or `labels`."""
PROPERTIES = (CLASSES, INPUTS, OUTPUTS)


@dataclass(frozen=True)
class Limits:
    """The memory and time of a model's process.

    `memory` bytes beside its programs, and `memory_a_byte` more for each byte of the model. `start` are the seconds of
    processor time to check a model and make it ready, `call` those for one batch. On a busy machine an answer may take
    `patience` times as long by the clock.
    """

    memory: int = 2**31
    memory_a_byte: int = 12
    start: float = 20.0
    call: float = 20.0
    patience: float = 6.0


LIMITS = Limits()
