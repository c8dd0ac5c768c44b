"""Parts of providers' answers."""

# fields of Open-Meteo and their units
NAMES = {
    "shortwave_radiation": "W/m²",
    "direct_normal_irradiance": "W/m²",
    "diffuse_radiation": "W/m²",
    "temperature_2m": "°C",
    "wind_speed_10m": "m/s",
}


def seconds(times):
    return (times.asi8 // 10**9).tolist()
