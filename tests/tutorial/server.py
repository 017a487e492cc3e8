"""A server with the tutorial's interface, for proving that our agent works against it.

Usage: server.py PORT FOLDER. It keeps the newest picture in FOLDER/global.db as the tutorial does.
"""

import os
import sqlite3
import sys

from flask import Flask, request

port, folder = int(sys.argv[1]), sys.argv[2]
database = os.path.join(folder, "global.db")
app = Flask(__name__)

with sqlite3.connect(database) as db:
    db.execute("CREATE TABLE IF NOT EXISTS store (id INTEGER PRIMARY KEY, image BLOB)")
    db.execute("INSERT OR IGNORE INTO store (id, image) VALUES (1, '')")


@app.post("/")
def upload():
    if request.args.get("password") != os.environ["PASSWORD"]:
        return "", 400
    with sqlite3.connect(database) as db:
        db.execute("UPDATE store SET image = ? WHERE id = 1", [request.data])
    return "", 200


@app.get("/live.jpeg")
def live():
    with sqlite3.connect(database) as db:
        return db.execute("SELECT image FROM store WHERE id = 1").fetchone()[0], 200


app.run(port=port, threaded=True)
