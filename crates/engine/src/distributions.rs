//! Which package brings a module, and which packages a package brings: of those that models use
//! most. Names of packages are in their normal form. What is not here is not known, and nothing is
//! guessed: another package may have the name of a module.

use std::collections::BTreeSet;

/// Modules that are not called as their package is: the package that is proposed comes first, and
/// others that bring the module too follow.
const MODULES: &[(&str, &str)] = &[
    ("attr", "attrs"),
    ("bs4", "beautifulsoup4"),
    ("Crypto", "pycryptodome"),
    (
        "cv2",
        "opencv-python-headless opencv-python opencv-contrib-python opencv-contrib-python-headless",
    ),
    ("dateutil", "python-dateutil"),
    ("dotenv", "python-dotenv"),
    ("docx", "python-docx"),
    ("faiss", "faiss-cpu faiss-gpu"),
    ("fitz", "pymupdf"),
    ("git", "gitpython"),
    ("google.cloud.bigquery", "google-cloud-bigquery"),
    ("google.cloud.storage", "google-cloud-storage"),
    ("google.protobuf", "protobuf"),
    ("grpc", "grpcio"),
    ("igraph", "igraph python-igraph"),
    ("imblearn", "imbalanced-learn"),
    ("jose", "python-jose"),
    ("jwt", "pyjwt"),
    ("keras", "keras tensorflow"),
    ("Levenshtein", "levenshtein python-levenshtein"),
    ("lxml", "lxml"),
    ("magic", "python-magic"),
    ("markdown", "markdown"),
    ("MySQLdb", "mysqlclient"),
    ("mpl_toolkits", "matplotlib"),
    ("onnxruntime", "onnxruntime onnxruntime-gpu onnxruntime-openvino"),
    ("pkg_resources", "setuptools"),
    ("PIL", "pillow pillow-simd"),
    ("psycopg2", "psycopg2-binary psycopg2"),
    ("pylab", "matplotlib"),
    ("pyspark", "pyspark"),
    ("pythonjsonlogger", "python-json-logger"),
    ("pytorch_lightning", "pytorch-lightning lightning"),
    ("rapidjson", "python-rapidjson"),
    ("ruamel", "ruamel-yaml"),
    ("sentence_transformers", "sentence-transformers"),
    ("serial", "pyserial"),
    ("setuptools", "setuptools"),
    ("skimage", "scikit-image"),
    ("sklearn", "scikit-learn"),
    ("sksurv", "scikit-survival"),
    ("slugify", "python-slugify"),
    ("snappy", "python-snappy"),
    ("tensorflow", "tensorflow tensorflow-cpu tensorflow-gpu intel-tensorflow"),
    ("tlz", "toolz"),
    ("umap", "umap-learn"),
    ("usaddress", "usaddress"),
    ("websocket", "websocket-client"),
    ("win32api", "pywin32"),
    ("xgboost", "xgboost-cpu xgboost"),
    ("yaml", "pyyaml"),
    ("zmq", "pyzmq"),
];

/// Packages whose module is called as they are, with a hyphen for the underscore.
const SAME: &str = "absl-py accelerate aiohttp albumentations altair annoy anyio arrow asttokens autograd babel bambi \
    bokeh boto3 botocore bottleneck cachetools catboost category-encoders causalml certifi chardet click cloudpickle cmdstanpy \
    colorama cryptography cvxpy cython dask datasets deap dill distributed docopt duckdb econml einops emoji evaluate fastapi \
    fastparquet fasttext feature-engine featuretools filelock filterpy flask flatbuffers flax formulaic fsspec ftfy gensim \
    geopandas geopy gpytorch graphviz gym gymnasium h5py haversine hdbscan hmmlearn holidays httpx huggingface-hub humanize \
    hydra hyperopt idna ijson imageio implicit inflect ipython jax jaxlib jellyfish jieba jinja2 jmespath joblib jsonlines \
    jsonschema kiwisolver kneed langchain langdetect langid lifelines lightfm lightgbm lightning lime llvmlite loguru lz4 \
    markupsafe matplotlib mlflow mlxtend mmh3 more-itertools msgpack multidict munch narwhals networkx neuralprophet ngboost nltk \
    numba numexpr numpy omegaconf onnx openai opentelemetry-api openpyxl optuna orjson packaging pandas pandera pathos \
    patsy peft phik pint platformdirs plotly pmdarima polars prettytable prince prometheus-client prophet protobuf psutil \
    psycopg pyarrow pycaret pydantic pydantic-core pydantic-settings pygam pymc pymongo pymysql pyod pyparsing pyproj \
    pysbd pyspellchecker pytz pywavelets pyxlsb rapidfuzz rasterio redis regex requests rich ruptures s3fs sacrebleu \
    sacremoses safetensors scipy seaborn sentencepiece shap shapely shellingham simplejson simpletransformers six skl2onnx \
    sklearn-crfsuite sklearn-pandas skops smart-open sortedcontainers soundfile spacy sqlalchemy sqlglot statsforecast \
    statsmodels sympy tables tabulate tenacity tensorboard textblob textdistance thefuzz thinc threadpoolctl tiktoken timm \
    tokenizers toml tomli toolz torch torchaudio torchtext torchvision tornado tqdm transformers treelite tsfresh tslearn tzdata \
    tzlocal typer typing-extensions ujson unidecode urllib3 uvicorn validators wordcloud wrapt xarray xlrd xlsxwriter \
    xxhash yarl zstandard";

/// What a package brings along, whatever its version; every package here brings nothing else that a
/// model would import.
const BRINGS: &[(&str, &str)] = &[
    ("catboost", "numpy pandas scipy matplotlib graphviz plotly six"),
    ("category-encoders", "numpy pandas scipy scikit-learn statsmodels patsy"),
    ("dask", "click cloudpickle fsspec packaging pyyaml toolz"),
    ("fastapi", "pydantic typing-extensions anyio"),
    ("flask", "jinja2 markupsafe click"),
    ("gensim", "numpy scipy smart-open"),
    ("geopandas", "numpy pandas shapely pyproj packaging"),
    ("httpx", "anyio certifi idna"),
    ("imbalanced-learn", "numpy scipy scikit-learn joblib threadpoolctl"),
    ("jax", "numpy scipy jaxlib"),
    ("keras", "numpy h5py rich absl-py packaging"),
    ("lightgbm", "numpy scipy"),
    ("matplotlib", "numpy pillow pyparsing python-dateutil packaging kiwisolver"),
    (
        "mlflow",
        "numpy pandas scikit-learn scipy matplotlib pyarrow flask pyyaml requests cloudpickle packaging sqlalchemy",
    ),
    ("nltk", "click joblib regex tqdm"),
    ("numba", "numpy llvmlite"),
    ("onnx", "numpy protobuf"),
    ("onnxruntime", "numpy protobuf packaging flatbuffers"),
    ("opencv-contrib-python", "numpy"),
    ("opencv-contrib-python-headless", "numpy"),
    ("opencv-python", "numpy"),
    ("opencv-python-headless", "numpy"),
    ("optuna", "numpy sqlalchemy tqdm pyyaml packaging"),
    ("pandas", "numpy python-dateutil pytz tzdata six"),
    ("patsy", "numpy"),
    ("plotly", "packaging narwhals"),
    ("prophet", "numpy pandas matplotlib holidays tqdm cmdstanpy"),
    ("pydantic", "typing-extensions pydantic-core"),
    ("python-dateutil", "six"),
    ("requests", "urllib3 certifi idna"),
    ("scikit-image", "numpy scipy networkx pillow imageio packaging"),
    ("scikit-learn", "numpy scipy joblib threadpoolctl"),
    ("scipy", "numpy"),
    ("seaborn", "numpy pandas matplotlib"),
    (
        "sentence-transformers",
        "torch transformers scikit-learn scipy numpy pillow tqdm huggingface-hub",
    ),
    ("shap", "numpy scipy scikit-learn pandas tqdm numba cloudpickle packaging"),
    ("skl2onnx", "numpy onnx scikit-learn"),
    ("skops", "scikit-learn numpy packaging prettytable huggingface-hub"),
    ("statsmodels", "numpy scipy pandas patsy packaging"),
    (
        "tensorflow",
        "numpy keras h5py protobuf absl-py requests six packaging typing-extensions grpcio wrapt",
    ),
    ("torch", "typing-extensions sympy networkx jinja2 filelock fsspec setuptools"),
    ("torchvision", "torch numpy pillow"),
    (
        "transformers",
        "numpy requests tqdm huggingface-hub tokenizers safetensors pyyaml regex packaging filelock",
    ),
    ("umap-learn", "numpy scipy scikit-learn numba tqdm"),
    ("xarray", "numpy pandas packaging"),
    ("xgboost", "numpy scipy"),
    ("xgboost-cpu", "numpy scipy"),
];

/// Packages that bring more than is listed.
const MUCH: &str =
    "dask fastapi jax keras mlflow prophet sentence-transformers tensorflow torch transformers";

/// Packages that bring nothing along.
const ALONE: &str = "attrs certifi cloudpickle click dill emoji idna joblib lxml msgpack networkx numpy orjson \
    packaging pillow polars protobuf psutil pyarrow pyparsing pytz pyyaml rapidfuzz regex simplejson six sympy tabulate \
    threadpoolctl toolz tqdm typing-extensions tzdata ujson unidecode urllib3 xxhash";

/// The normal form of a package's name.
pub fn normal(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.push(c.to_ascii_lowercase()),
        }
    }
    normal
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split_ascii_whitespace()
}

/// The packages that bring a module, the one to propose first; empty if none is known.
pub fn of_module(module: &str) -> Vec<&'static str> {
    let top = module.split('.').next().unwrap_or_default();
    let known = |name: &str| MODULES.iter().find(|(known, _)| *known == name);
    if let Some((_, packages)) = known(module).or_else(|| known(top)) {
        return packages.split_ascii_whitespace().collect();
    }
    let same = words(SAME).find(|name| name.replace('-', "_") == top);
    same.into_iter().collect()
}

/// Whether a package is known by its name.
pub fn is_known(name: &str) -> bool {
    let name = normal(name);
    words(SAME).chain(words(ALONE)).any(|known| known == name)
        || MODULES.iter().any(|(_, packages)| words(packages).any(|known| known == name))
}

/// Packages with all that they bring along, and whether that is known of every one of them.
pub fn with_brought(names: &BTreeSet<String>) -> (BTreeSet<String>, bool) {
    let (mut all, mut is_whole) = (BTreeSet::new(), true);
    let mut left: Vec<String> = names.iter().cloned().collect();
    while let Some(name) = left.pop() {
        is_whole &= !words(MUCH).any(|much| much == name);
        match BRINGS.iter().find(|(known, _)| *known == name) {
            Some((_, brought)) => {
                left.extend(words(brought).filter(|other| !all.contains(*other)).map(String::from))
            }
            // What others bring is as good as known: only what was named may bring surprises.
            None => is_whole &= !names.contains(&name) || words(ALONE).any(|alone| alone == name),
        }
        all.insert(name);
    }
    (all, is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn modules_have_their_packages() {
        for (module, package) in [
            ("sklearn", "scikit-learn"),
            ("sklearn.base", "scikit-learn"),
            ("cv2", "opencv-python-headless"),
            ("PIL", "pillow"),
            ("yaml", "pyyaml"),
            ("dateutil", "python-dateutil"),
            ("numpy", "numpy"),
            ("category_encoders", "category-encoders"),
            ("google.cloud.storage", "google-cloud-storage"),
        ] {
            assert_eq!(of_module(module).first(), Some(&package), "{module}");
        }
        for unknown in ["google.cloud.unheard", "my_company", ""] {
            assert!(of_module(unknown).is_empty(), "{unknown}");
        }
    }

    #[test]
    fn what_is_brought_is_brought_all_the_way() {
        let (all, is_whole) = with_brought(&set(&["seaborn"]));
        assert!(is_whole && all.contains("numpy") && all.contains("python-dateutil"), "{all:?}");
        assert!(!with_brought(&set(&["numpy", "of-our-own"])).1);
        assert!(with_brought(&set(&[])).1);
    }

    #[test]
    fn the_lists_are_in_normal_form() {
        let lists = MODULES.iter().chain(BRINGS).map(|(_, packages)| *packages);
        for name in lists.chain([ALONE]).flat_map(words).chain(BRINGS.iter().map(|(name, _)| *name))
        {
            assert_eq!(normal(name), name);
            assert!(is_known(name) || BRINGS.iter().any(|(known, _)| *known == name), "{name}");
        }
        assert_eq!(normal("Ruamel.YAML__x"), "ruamel-yaml-x");
    }
}
