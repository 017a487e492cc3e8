"""`scripts/check scale`: holds a file of Kubernetes objects against Kubernetes' own schemas, the oldest it is for and the
newest that are here.

    check_kubernetes.py FILE CONFIGMAP DIR

The files of the ConfigMap of that name are written to the folder DIR, for who reads them. Ends with status 77 if there is
no library with the schemas (PyPI: kubernetes-validate).
"""

import pathlib
import sys

OLDEST = "1.30"

try:
    import kubernetes_validate
    import yaml
except ImportError:
    sys.exit(77)

path, config_map, folder = sys.argv[1:]
wrong = False
for thing in yaml.safe_load_all(pathlib.Path(path).read_text()):
    name = f"{thing['kind']} {thing['metadata']['name']}"
    for version in (OLDEST, kubernetes_validate.latest_version()):
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            where = ".".join(map(str, error.path))
            print(f"{path}: {name} ({version}): {where}: {error.message}", file=sys.stderr)
            wrong = True
    if name == f"ConfigMap {config_map}":
        for file, text in thing["data"].items():
            (pathlib.Path(folder) / file).write_text(text)
sys.exit(wrong)
