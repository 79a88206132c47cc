"""unpack-tensorflow.py WHEELS TARGET: TensorFlow's libraries and C headers out of the wheel in a folder."""
import glob
import os
import shutil
import sys
import zipfile

source, target = sys.argv[1:]
wheel = glob.glob(os.path.join(source, "*.whl"))[0]
include = "tensorflow/include/"
folders = ("tensorflow/c/", "tensorflow/core/platform/ctstring", "tensorflow/tsl/c/",
           "tensorflow/tsl/platform/ctstring", "tsl/c/", "tsl/platform/ctstring", "xla/tsl/c/")
headers = tuple(include + folder for folder in folders)


def place(name):
    if name.startswith("tensorflow/libtensorflow_") and ".so" in name:
        return os.path.join(target, "lib", os.path.basename(name))
    if name.startswith(headers) and name.endswith(".h"):
        return os.path.join(target, "include", name[len(include):])
    return None


with zipfile.ZipFile(wheel) as files:
    for name in files.namelist():
        path = place(name)
        if path is None:
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with files.open(name) as packed, open(path, "wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
os.remove(wheel)
