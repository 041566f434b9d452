"""botocore signs again what the recorder kept, and compares.

python3 signatures.py FILE REGION      keys from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
Prints a line for each request: the operation, then "same" or what differs.
"""
import base64
import json
import os
import re
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

file, region = sys.argv[1:3]
token = os.environ.get("AWS_SESSION_TOKEN")
keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], token)


def check(kept):
    pairs = list(zip(kept["headers"][::2], kept["headers"][1::2]))
    names = [name.lower() for name, _ in pairs]
    headers = {name.lower(): value for name, value in pairs}
    if len(names) != len(headers):
        return "a header came twice"
    parts = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^,]*), SignedHeaders=([^,]*), Signature=(\w*)",
                         headers["authorization"])
    if not parts:
        return "the Authorization header has another form: " + headers["authorization"]
    signed = parts[2].split(";")
    wanted = {"host"} | {name for name in names if name.startswith("x-amz-")}
    if not wanted <= set(signed) or signed != sorted(signed):
        return f"signed headers are {signed}"
    if headers.get("x-amz-security-token") != token:
        return "the session token is not the one"
    request = AWSRequest(method=kept["method"], url=f"http://{headers['host']}{kept['target']}",
                         data=base64.b64decode(kept["body"]), headers={name: headers[name] for name in signed})
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(keys, "kinesis", region)
    if parts[1] != auth.scope(request):
        return f"the scope is {parts[1]}, not {auth.scope(request)}"
    canonical = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    return "same" if signature == parts[3] else "another signature; the canonical request is " + repr(canonical)


with open(file, encoding="utf-8") as lines:
    for line in lines:
        kept = json.loads(line)
        target = dict(zip(kept["headers"][::2], kept["headers"][1::2])).get("X-Amz-Target") or next(
            (v for k, v in zip(kept["headers"][::2], kept["headers"][1::2]) if k.lower() == "x-amz-target"), "?")
        print(target.split(".")[-1], check(kept))
