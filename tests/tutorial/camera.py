"""The tutorial's camera loop, with files in the sensor's place: camera.py URL FILE..."""

import sys
import time

import requests

url, files = sys.argv[1], sys.argv[2:]
while True:
    for name in files:
        try:
            with open(name, "rb") as file:
                image = file.read()
            answer = requests.post(url, data=image)
            print(answer.status_code, flush=True)
        except requests.RequestException:
            time.sleep(5)
