"""Every stored secret, sealed under another key of the operator's, while nodes run.

A secret that is changed meanwhile is left as it is (compare-and-set), and looked at again: in the end all are under the
key that seals now.
"""

from countwheel.store.database import Database
from countwheel.store.queries import query
from countwheel.store.sealing import Sealer

_ROWS_A_FETCH = 500


async def reseal(database: Database, sealer: Sealer) -> tuple[int, int]:
    """Seal what is not under the sealer's key. Returns how many secrets there are, and how many were changed.

    Raises `WrongSecretKeyError` for one that none of its keys opens: nothing of it is lost, and what was changed before
    stays so.
    """
    changed = 0
    while True:
        seen, left = 0, 0
        async with database.transaction() as reading, reading.cursor(name="sealed") as rows:
            rows.itersize = _ROWS_A_FETCH
            await rows.execute(query("sealed_rows"))
            async for kind, row_id, belongs_to, sealed in rows:
                seen += 1
                if not sealer.has_sealed(sealed, belongs_to):
                    left += 1
                    fresh = sealer.seal(sealer.open(sealed, belongs_to), belongs_to)
                    at = {"id": row_id, "sealed": sealed, "fresh": fresh}
                    async with database.connection() as connection:
                        changed += (await connection.execute(query(f"reseal_{kind}"), at)).rowcount
        if left == 0:
            return seen, changed
