"""botocore reads shared config files.

python3 config.py FILE    FILE: a list of texts; prints for each {sections, profiles}, or null where it cannot be read
"""
import json
import os
import sys
import tempfile

from botocore.configloader import build_profile_map, raw_config_parse
from botocore.exceptions import ConfigParseError


def parsed(folder, text):
    path = os.path.join(folder, "config")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        sections = raw_config_parse(path)
    except ConfigParseError:
        return None
    return {"sections": sections, "profiles": build_profile_map(sections)["profiles"]}


with tempfile.TemporaryDirectory() as place, open(sys.argv[1], encoding="utf-8") as given:
    json.dump([parsed(place, text) for text in json.load(given)], sys.stdout)
