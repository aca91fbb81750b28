"""What clients send and what they get, as typed structs: they check the input, and OpenAPI is generated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from clipshelf.recommend.arguments import LEAST, MAX_COLUMNS, MAX_ITEMS, MOST

MAX_TEXT = 10_000  # characters
MAX_TEXTS, MAX_IMAGES, MAX_IDS, MAX_EVENTS = 32, 8, 1000, 1000  # of a query
MAX_K = 10_000
MAX_QUERIES = 64  # of a batch
MAX_INPUTS = 1000  # texts and pictures of one request for embeddings
MAX_PRODUCTS = 1000  # of one change

Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
Texts = Annotated[list[Text], Meta(max_length=MAX_TEXTS)]
Image = Annotated[
    str,
    Meta(description="A data: URI, or base64. A URL where the service was started with its host in --image-hosts."),
]
Images = Annotated[list[Image], Meta(max_length=MAX_IMAGES)]
Id: TypeAlias = str | int
Ids = Annotated[list[Id], Meta(max_length=MAX_IDS)]
TextIds = Annotated[list[str], Meta(max_length=MAX_IDS)]
Strength = Annotated[float, Meta(ge=LEAST, le=MOST)]
Weight = Annotated[float, Meta(ge=0, le=MOST)]
Count = Annotated[int, Meta(ge=0)]
Milliseconds = Annotated[float, Meta(ge=0)]
Time: TypeAlias = str | int | float
Where = Annotated[
    str | dict[str, Any],
    Meta(description='A filter in words, or an object such as {"price": {"<": 100}}; see docs/filters.md.'),
]


class Like(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A product and how much it is liked or disliked."""

    id: Id
    strength: Strength


Likes = Annotated[list[Id | Like], Meta(max_length=MAX_IDS)] | Annotated[dict[str, Strength], Meta(max_length=MAX_IDS)]


class Event(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a person did with a product, when, and with how many stars it was rated."""

    id: Id
    kind: Literal["viewed", "added_to_basket", "bought", "rated"]
    time: Annotated[Time, Meta(description="ISO 8601, or a number of seconds since 1970.")]
    stars: Annotated[float, Meta(ge=1, le=5)] | None = None


Events = Annotated[list[Event], Meta(max_length=MAX_EVENTS)]


class WeightsChange(Struct, forbid_unknown_fields=True, frozen=True):
    """How much each kind of signal counts; what is left out keeps its default (docs/scores.md)."""

    text: Weight | UnsetType = UNSET
    image: Weight | UnsetType = UNSET
    liked: Weight | UnsetType = UNSET
    disliked: Weight | UnsetType = UNSET
    history: Weight | UnsetType = UNSET
    words: Weight | UnsetType = UNSET
    fresh: Weight | UnsetType = UNSET
    text_text: Weight | UnsetType = UNSET
    text_image: Weight | UnsetType = UNSET
    image_text: Weight | UnsetType = UNSET
    image_image: Weight | UnsetType = UNSET


class PersonProfile(Struct, forbid_unknown_fields=True, frozen=True):
    """The signals of a person, which travel with the request and are not kept."""

    texts: Texts | None = None
    images: Images | None = None
    liked: Likes | None = None
    disliked: Likes | None = None
    history: Events | None = None


class QueryBody(Struct, forbid_unknown_fields=True, frozen=True):
    """What a person asks for, with at least one signal: a text, a picture, likes, dislikes, a history or a profile."""

    text: Annotated[Text | Texts | None, Meta(description="A wish or a review in words, or several.")] = None
    image: Annotated[Image | Images | None, Meta(description="A picture, or several.")] = None
    liked: Likes | None = None
    disliked: Likes | None = None
    history: Events | None = None
    k: Annotated[int, Meta(ge=1, le=MAX_K, description="Products at most.")] = 10
    where: Where | None = None
    exclude: Annotated[Ids | None, Meta(description="Ids that are not answered.")] = None
    weights: WeightsChange | None = None
    diversity: Annotated[float, Meta(ge=0, le=1, description="How much fit is given up for variety.")] = 0.0
    min_relevance: Annotated[float, Meta(ge=0, le=1, description="Products of a lower relevance are left out.")] = 0.0
    crop: Annotated[
        tuple[float, float, float, float] | None, Meta(description="Left, top, right, bottom of the pictures, 0 to 1.")
    ] = None
    boost: Annotated[
        Annotated[dict[str, float], Meta(max_length=MAX_COLUMNS)] | None,
        Meta(description="Weights of columns of numbers."),
    ] = None
    fresh: Annotated[
        Annotated[dict[str, float | str], Meta(max_length=MAX_COLUMNS)] | None,
        Meta(description="Half-lives of columns of dates: 30d."),
    ] = None
    group_by: Annotated[str | None, Meta(description="A column: the best product of each of its values.")] = None
    group_members: Annotated[int, Meta(ge=0, le=MAX_ITEMS, description="Others of its group, for each product.")] = 0
    profile: PersonProfile | None = None
    exclude_bought: bool = False
    probability: Annotated[
        bool, Meta(description="Whether products have a probability; the model must be one that gives it.")
    ] = False
    now: Annotated[Time | None, Meta(description="The time from which the history is seen.")] = None
    unknown: Annotated[
        Literal["raise", "ignore"], Meta(description="What becomes of ids that the catalogue does not have.")
    ] = "raise"
    explain: Annotated[bool, Meta(description="Whether the answer says what each signal added.")] = False


class QueryParameters(Struct, forbid_unknown_fields=True, frozen=True):
    """The query in the URL, beside a picture as the body."""

    text: Texts = []
    liked: TextIds = []
    disliked: TextIds = []
    exclude: TextIds = []
    k: Annotated[int, Meta(ge=1, le=MAX_K)] = 10
    where: Annotated[str | None, Meta(description="A filter in words; see docs/filters.md.")] = None
    weights: Annotated[str | None, Meta(description="Such as text=1,image=0.5.")] = None
    diversity: Annotated[float, Meta(ge=0, le=1)] = 0.0
    min_relevance: Annotated[float, Meta(ge=0, le=1)] = 0.0
    crop: Annotated[str | None, Meta(description="Left, top, right, bottom of the picture, such as 0,0.5,1,1.")] = None
    boost: Annotated[str | None, Meta(description="Weights of columns of numbers, such as popularity=0.2.")] = None
    fresh: Annotated[str | None, Meta(description="Half-lives of columns of dates, such as added=30d.")] = None
    group_by: Annotated[str | None, Meta(description="A column: the best product of each of its values.")] = None
    group_members: Annotated[int, Meta(ge=0, le=MAX_ITEMS, description="Others of its group, for each product.")] = 0
    exclude_bought: bool = False
    probability: bool = False
    unknown: Literal["raise", "ignore"] = "raise"
    explain: bool = False


class SimilarParameters(Struct, forbid_unknown_fields=True, frozen=True):
    """How many products, and which."""

    k: Annotated[int, Meta(ge=1, le=MAX_K)] = 10
    where: Annotated[str | None, Meta(description="A filter in words; see docs/filters.md.")] = None
    diversity: Annotated[float, Meta(ge=0, le=1)] = 0.0
    explain: bool = False


class ProductsParameters(Struct, forbid_unknown_fields=True, frozen=True):
    """How many products, and which."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 12
    where: Annotated[str | None, Meta(description="A filter in words; see docs/filters.md.")] = None


class PictureParameters(Struct, forbid_unknown_fields=True, frozen=True):
    """Which size, and of which version."""

    size: Annotated[int, Meta(ge=16, le=1024, description="Pixels of the longer edge.")] = 480
    v: Annotated[
        str | None, Meta(description="The version that an `image_url` names; it makes the answer cacheable.")
    ] = None
    index: (
        Annotated[int, Meta(ge=0, le=999, description="Which of several pictures, from 0; the first that is a file.")]
        | None
    ) = None


class BatchBody(Struct, forbid_unknown_fields=True, frozen=True):
    """Queries that are answered together, each for itself."""

    queries: Annotated[list[QueryBody], Meta(min_length=1, max_length=MAX_QUERIES)]


class Problem(Struct, omit_defaults=True, frozen=True):
    """What went wrong, as RFC 9457 has it."""

    type: str
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="What was expected, and what came.")]
    message: Annotated[str, Meta(description="The detail again, where OpenAI's clients look for it.")]


class PartShare(Struct, frozen=True):
    """The share of one of several pictures or texts."""

    index: Annotated[int, Meta(ge=0, description="In the product's record.")]
    path: Annotated[str | None, Meta(description="Of the picture.")]
    value: float


class Contribution(Struct, frozen=True):
    """What one signal adds to a score through one side of the product."""

    signal: str
    id: str | None
    side: Literal["image", "text"] | None
    value: float
    parts: (
        Annotated[list[PartShare], Meta(description="Where the side has several; they sum to the value.")] | UnsetType
    ) = UNSET


class GroupMember(Struct, frozen=True):
    """Another product of a group."""

    id: str
    score: float
    product: dict[str, Any]


class Group(Struct, frozen=True):
    """The group that a product is the best of."""

    value: str | float | bool | None
    size: Annotated[Count, Meta(description="Its products that may be answered.")]
    members: list[GroupMember]


class RecommendationItem(Struct, frozen=True):
    """One product, its score, and why."""

    id: str
    score: float
    relevance: Annotated[float, Meta(ge=0, le=1)]
    product: Annotated[dict[str, Any], Meta(description="The record as it was indexed.")]
    image_url: Annotated[str | None, Meta(description="Where its picture is, null where it has none.")]
    picture: Annotated[int, Meta(ge=0, description="Which of several pictures fits best.")] | UnsetType = UNSET
    group: Annotated[Group, Meta(description="With group_by.")] | UnsetType = UNSET
    probability: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    contributions: (
        Annotated[list[Contribution], Meta(description="With explain; they sum to the score.")] | UnsetType
    ) = UNSET


MissingShards = Annotated[
    list[Count], Meta(description="Shards of the catalogue that did not answer; their products are missing here.")
]


class Answer(Struct, frozen=True):
    """The answer to one query, best first; docs/json.md explains the fields."""

    recommendations: list[RecommendationItem]
    took_ms: Annotated[dict[str, Milliseconds], Meta(description="Milliseconds of the stages.")]
    note: Annotated[str, Meta(description="Why there are no products.")] | UnsetType = UNSET
    unknown_ids: list[str] | UnsetType = UNSET
    missing_shards: MissingShards | UnsetType = UNSET


class BatchItem(Struct, omit_defaults=True, frozen=True):
    """The answer to one query of a batch, or why there is none."""

    recommendations: list[RecommendationItem] | UnsetType = UNSET
    took_ms: dict[str, Milliseconds] | UnsetType = UNSET
    note: str | UnsetType = UNSET
    unknown_ids: list[str] | UnsetType = UNSET
    missing_shards: MissingShards | UnsetType = UNSET
    error: Problem | UnsetType = UNSET


class BatchAnswer(Struct, frozen=True):
    """One answer for each query, in order."""

    answers: list[BatchItem]


class ProductAnswer(Struct, frozen=True):
    """One product."""

    id: str
    product: Annotated[dict[str, Any], Meta(description="The record as it was indexed.")]
    image_url: str | None


class ProductsAnswer(Struct, frozen=True):
    """Some products, and how many there are to choose from."""

    total: Annotated[Count, Meta(description="Products that the filter lets through.")]
    products: list[ProductAnswer]


class ModelFacts(Struct, frozen=True):
    """The model that embeds texts and pictures."""

    id: str
    dim: int
    precision: str
    image_size: int


class FrequentValue(Struct, frozen=True):
    """A value of a column, and how many products have it."""

    value: str | float | bool
    products: int


class ColumnFacts(Struct, omit_defaults=True, frozen=True):
    """A column that filters can use."""

    name: str
    kind: Literal["bool", "number", "text", "date", "numbers", "texts", "mixed"]
    products: Annotated[int, Meta(description="Products that have a value.")]
    distinct: int | UnsetType = UNSET
    min: float | str | UnsetType = UNSET
    max: float | str | UnsetType = UNSET
    values: Annotated[list[FrequentValue], Meta(description="The most frequent values.")] | UnsetType = UNSET


class WeightFacts(Struct, frozen=True):
    """A weight and its default."""

    name: str
    default: float


class LimitFacts(Struct, frozen=True):
    """What a request may have at most."""

    k: int
    body_bytes: int
    text_characters: int
    texts: int
    images: int
    queries: int


class CatalogueFacts(Struct, frozen=True):
    """What a page needs to offer filters and weights."""

    products: int
    generation: int
    fingerprint: str
    model: ModelFacts
    columns: list[ColumnFacts]
    weights: list[WeightFacts]
    relevance_cut: Annotated[float, Meta(description="An answer whose best relevance is lower fits badly.")]
    limits: LimitFacts
    writable: bool


class ProductsBody(Struct, forbid_unknown_fields=True, frozen=True):
    """Products to add, or to change where the catalogue has their ids."""

    products: Annotated[
        list[dict[str, Any]],
        Meta(
            min_length=1,
            max_length=MAX_PRODUCTS,
            description="Records with an id, a text, an image as in a query, and any other fields. Of a product that "
            "is there, the fields that the record has change; null removes one.",
        ),
    ]
    on_error: Annotated[
        Literal["raise", "skip"],
        Meta(description="Whether a product that cannot be used refuses the whole request, or is left out alone."),
    ] = "raise"


class FailedProduct(Struct, frozen=True):
    """A product that was left out."""

    index: Annotated[int, Meta(description="Its position in the request, from 0.")]
    id: str
    detail: str


class ChangeAnswer(Struct, frozen=True):
    """What changed; it is on disk, and answers come from it."""

    generation: int
    products: Annotated[int, Meta(description="Products of the catalogue now.")]
    added: int
    updated: int
    removed: int
    failed: list[FailedProduct]


EmbeddedText = Annotated[str, Meta(min_length=1)]


class ImageUrl(Struct, frozen=True):
    """Where a picture is."""

    url: Image


class EmbeddingInput(Struct, frozen=True):
    """A text or a picture to embed."""

    text: EmbeddedText | UnsetType = UNSET
    image: Image | UnsetType = UNSET
    image_url: ImageUrl | Image | UnsetType = UNSET
    type: Literal["text", "image", "image_url", "input_text", "input_image"] | UnsetType = UNSET


class EmbeddingsBody(Struct, frozen=True):
    """What OpenAI's clients send, with pictures beside texts."""

    input: Annotated[
        EmbeddedText
        | EmbeddingInput
        | Annotated[list[EmbeddedText | EmbeddingInput], Meta(min_length=1, max_length=MAX_INPUTS)],
        Meta(description="A text or several; a picture is an object, or a string where `modality` says so."),
    ]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    modality: Annotated[Literal["text", "image"], Meta(description="What strings are.")] = "text"
    dimensions: Annotated[int | None, Meta(description="Only the width of the model.")] = None


class Embedding(Struct, frozen=True):
    """One embedding, of unit norm."""

    index: int
    embedding: Annotated[list[float] | str, Meta(description="Numbers; or base64 of float32 in little-endian order.")]
    object: Literal["embedding"] = "embedding"


class Usage(Struct, frozen=True):
    """Tokens of the texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(Struct, frozen=True):
    """Embeddings in the order of the input."""

    data: list[Embedding]
    model: str
    usage: Usage
    object: Literal["list"] = "list"


class ModelEntry(Struct, frozen=True):
    """The model, as OpenAI's clients list it."""

    id: str
    created: int
    fingerprint: str
    dim: int
    object: Literal["model"] = "model"
    owned_by: str = "clipshelf"


class ModelList(Struct, frozen=True):
    """All models: the one of the service."""

    data: list[ModelEntry]
    object: Literal["list"] = "list"


class Health(Struct, frozen=True):
    """Whether the service lives, or is ready for requests."""

    status: Literal["live", "ready", "starting", "draining"]
